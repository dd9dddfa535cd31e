/* Resolves a name as musl does it and prints its addresses, sorted by the caller. Built with musl-gcc. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

int main(int argc, char **argv) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found, *one;
    int error = argc < 2 ? EAI_NONAME : getaddrinfo(argv[1], NULL, &hints, &found);
    if (error) {
        printf("error %s\n", gai_strerror(error));
        return 0;
    }
    for (one = found; one; one = one->ai_next) {
        char text[INET6_ADDRSTRLEN];
        void *address = one->ai_family == AF_INET ? (void *)&((struct sockaddr_in *)one->ai_addr)->sin_addr
                                                  : (void *)&((struct sockaddr_in6 *)one->ai_addr)->sin6_addr;
        puts(inet_ntop(one->ai_family, address, text, sizeof text));
    }
    return 0;
}
