// Resolves a name with Go's own resolver (built without cgo) and prints its addresses.
package main

import (
	"fmt"
	"net"
	"os"
)

func main() {
	addresses, err := net.LookupHost(os.Args[1])
	if err != nil {
		fmt.Println("error", err)
		return
	}
	for _, address := range addresses {
		fmt.Println(address)
	}
}
