/* What load_tunnels and origin_tunnels agree on: a ClientHello for any name, and the size of the origin's answer. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define TUNNELS_HELLO_BYTES 517   /* what browsers and OpenSSL pad to */
#define TUNNELS_ANSWER_BYTES 1400 /* one record with a ServerHello and what could follow it */
#define TUNNELS_NAME_MAX_LENGTH 100

/* Writes a ClientHello for a TLS 1.3 handshake with the server of that name (at most TUNNELS_NAME_MAX_LENGTH bytes). */
void tunnels_hello(const char *name, uint8_t hello[TUNNELS_HELLO_BYTES]);

/* Writes a handshake record that begins with a ServerHello, which is no HelloRetryRequest. */
void tunnels_answer(uint8_t answer[TUNNELS_ANSWER_BYTES]);

/* Whole milliseconds or microseconds of a clock that only goes forward. */
uint64_t tunnels_now_us(void);

/* Prints the message with errno's meaning and ends the program with 1. */
_Noreturn void tunnels_die(const char *what);

/* Reads an IPv4 "address:port"; ends the program with 2 when it is none. */
struct sockaddr_in tunnels_endpoint(const char *text);

/* Adds or changes what an epoll instance waits for. */
void tunnels_watch(int epoll_fd, int operation, int fd, uint32_t events, void *data);
