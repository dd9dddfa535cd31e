// The same as calls.py with a goroutine a connection, which the runtime moves between threads: calls BACKEND. The answer is
// the backend's. Only what the tests send is understood: a GET without a body.
package main

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strings"
)

func main() {
	listener, err := net.Listen("tcp", ":8080")
	if err != nil {
		log.Fatal(err)
	}
	for {
		client, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(client, os.Args[1])
	}
}

func serve(client net.Conn, backend string) {
	defer client.Close()
	for requests := bufio.NewReader(client); ; {
		path, err := head(requests)
		if err != nil {
			return
		}
		body, err := call(backend, strings.SplitN(path, "/", 3)[2])
		if err != nil {
			log.Print(err)
			return
		}
		fmt.Fprintf(client, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
}

// head reads a request's head and gives its path.
func head(from *bufio.Reader) (path string, err error) {
	for {
		line, err := from.ReadString('\n')
		if err != nil || line == "\r\n" {
			return path, err
		}
		if path == "" {
			path = strings.Fields(line)[1]
		}
	}
}

func call(backend string, tag string) (string, error) {
	server, err := net.Dial("tcp", backend+":80")
	if err != nil {
		return "", err
	}
	defer server.Close()
	fmt.Fprintf(server, "GET /%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", tag, backend)
	answer, err := io.ReadAll(server)
	_, body, _ := strings.Cut(string(answer), "\r\n\r\n")
	return body, err
}
