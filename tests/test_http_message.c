/* Tests of examples/http/message.c: what is refused and as what, that the pieces in which bytes come change nothing,
   and that what is written has one reading. Every piece is a heap block of its own size, so that AddressSanitizer sees
   a look beyond it. */

#include "../examples/http/message.c"

#include "test.h"

#include <stdlib.h>

#define TEXT(s) s, sizeof s - 1
#define LENGTH_OF(a) (sizeof(a) / sizeof(a)[0])
#define GET "GET / HTTP/1.1\r\nHost: a\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\n"
#define OK200 "HTTP/1.1 200 OK\r\n"
#define CODED "Transfer-Encoding: chunked\r\n"
#define CHUNKED POST CODED "\r\n"

typedef struct sample {
    const char *text;
    size_t size;
    int32_t status; /* 0: whole */
} sample;

/* Broken requests, and what each is answered. */
static const sample bad_requests[] = {
    /* lengths and codings */
    { TEXT(POST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"), 400 },
    { TEXT(POST "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"), 400 },
    { TEXT(POST "Content-Length: 3, 3\r\n\r\nabc"), 400 },
    { TEXT(POST "Content-Length: 3 3\r\n\r\nabc"), 400 },
    { TEXT(POST "Content-Length: +3\r\n\r\nabc"), 400 },
    { TEXT(POST "Content-Length: -3\r\n\r\nabc"), 400 },
    { TEXT(POST "Content-Length: 0x3\r\n\r\nabc"), 400 },
    { TEXT(POST "Content-Length: 3.0\r\n\r\nabc"), 400 },
    { TEXT(POST "Content-Length: \r\n\r\nabc"), 400 },
    { TEXT(POST "Content-Length: a\r\n\r\nabc"), 400 },
    { TEXT(POST "Content-Length: 3\v\r\n\r\nabc"), 400 },
    { TEXT(POST "Content-Length:\r\n 3\r\n\r\nabc"), 400 },
    { TEXT(POST "Content-Length : 3\r\n\r\nabc"), 400 },
    { TEXT(POST "Content-Length\t: 3\r\n\r\nabc"), 400 },
    { TEXT(POST "Content-Length: 9223372036854775808\r\n\r\nabc"), 413 },
    { TEXT(POST "Content-Length: 18446744073709551619\r\n\r\nabc"), 413 },
    { TEXT(POST "Content-Length: 1073741825\r\n\r\n"), 413 },
    { TEXT(POST "Content-Length: 3\r\n" CODED "\r\n0\r\n\r\n"), 400 },
    { TEXT(POST CODED "Content-Length: 3\r\n\r\n0\r\n\r\n"), 400 },
    { TEXT(POST CODED CODED "\r\n0\r\n\r\n"), 400 },
    { TEXT(POST CODED "Transfer-Encoding: identity\r\n\r\n0\r\n\r\n"), 400 },
    { TEXT(POST "Transfer-Encoding: identity\r\n" CODED "\r\n0\r\n\r\n"), 501 },
    { TEXT(POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), 501 },
    { TEXT(POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"), 501 },
    { TEXT(POST "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"), 501 },
    { TEXT(POST "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n"), 501 },
    { TEXT(POST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"), 501 },
    { TEXT(POST "Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n"), 501 },
    { TEXT(POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"), 501 },
    { TEXT(POST "Transfer-Encoding: \r\n\r\n0\r\n\r\n"), 501 },
    { TEXT(POST "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n"), 400 },
    { TEXT(POST "Transfer-Encoding: chun\0ked\r\n\r\n0\r\n\r\n"), 400 },
    { TEXT(POST "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"), 400 },
    { TEXT(POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"), 400 },
    { TEXT(POST "X: y\r\n" CODED "Content-Length: 0\r\n\r\n0\r\n\r\n"), 400 },
    { TEXT("POST / HTTP/1.0\r\n" CODED "\r\n0\r\n\r\n"), 400 },
    /* chunks */
    { TEXT(CHUNKED "3\r\nabcXX0\r\n\r\n"), 400 },
    { TEXT(CHUNKED "3\r\nabcX\n0\r\n\r\n"), 400 },
    { TEXT(CHUNKED "3\r\nabc\rX0\r\n\r\n"), 400 },
    { TEXT(CHUNKED "3\r\nabcd\r\n0\r\n\r\n"), 400 },
    { TEXT(CHUNKED "3\r\nab\r\n0\r\n\r\n"), 400 },
    { TEXT(CHUNKED "3\r\nabc0\r\n\r\n"), 400 },
    { TEXT(CHUNKED "3\r\nabc\n0\r\n\r\n"), 400 },
    { TEXT(CHUNKED "3\nabc\r\n0\r\n\r\n"), 400 },
    { TEXT(CHUNKED "3\rXabc\r\n0\r\n\r\n"), 400 },
    { TEXT(CHUNKED "3;a\nxx\r\nabc\r\n0\r\n\r\n"), 400 },
    { TEXT(CHUNKED "3;a\0b\r\nabc\r\n0\r\n\r\n"), 400 },
    { TEXT(CHUNKED "3;a\rb\r\nabc\r\n0\r\n\r\n"), 400 },
    { TEXT(CHUNKED "3 \r\nabc\r\n0\r\n\r\n"), 400 },
    { TEXT(CHUNKED " 3\r\nabc\r\n0\r\n\r\n"), 400 },
    { TEXT(CHUNKED "3\t\r\nabc\r\n0\r\n\r\n"), 400 },
    { TEXT(CHUNKED "3 4\r\nabc\r\n0\r\n\r\n"), 400 },
    { TEXT(CHUNKED "+3\r\nabc\r\n0\r\n\r\n"), 400 },
    { TEXT(CHUNKED "-3\r\nabc\r\n0\r\n\r\n"), 400 },
    { TEXT(CHUNKED "0x3\r\nabc\r\n0\r\n\r\n"), 400 },
    { TEXT(CHUNKED "3h\r\nabc\r\n0\r\n\r\n"), 400 },
    { TEXT(CHUNKED "\r\nabc\r\n0\r\n\r\n"), 400 },
    { TEXT(CHUNKED ";a\r\nabc\r\n0\r\n\r\n"), 400 },
    { TEXT(CHUNKED "3_0\r\nabc\r\n0\r\n\r\n"), 400 },
    { TEXT(CHUNKED "10000000000000003\r\nabc\r\n0\r\n\r\n"), 413 },
    { TEXT(CHUNKED "FFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n"), 413 },
    { TEXT(CHUNKED "8000000000000003\r\nabc\r\n0\r\n\r\n"), 413 },
    { TEXT(CHUNKED "0000000000000003\r\nabc\r\n0\r\n\r\n"), 413 },
    { TEXT(CHUNKED "40000001\r\n"), 413 },
    { TEXT(CHUNKED "3\r\nabc\r\n3ffffffe\r\n"), 413 },
    { TEXT(CHUNKED "0\r\nX : y\r\n\r\n"), 400 },
    { TEXT(CHUNKED "0\r\nX: y\n\r\n"), 400 },
    { TEXT(CHUNKED "0\r\nX: y\r\n z\r\n\r\n"), 400 },
    { TEXT(CHUNKED "0\r\nX: \x01\r\n\r\n"), 400 },
    { TEXT(CHUNKED "0\r\n: y\r\n\r\n"), 400 },
    { TEXT(CHUNKED "0\r\nno colon\r\n\r\n"), 400 },
    { TEXT(CHUNKED "0\r\n\n"), 400 },
    { TEXT(CHUNKED "0\r\n\rX"), 400 },
    { TEXT(CHUNKED "0\nGET"), 400 },
    /* line ends and what holds no line end */
    { TEXT("GET / HTTP/1.1\nHost: a\n\n"), 400 },
    { TEXT("GET / HTTP/1.1\r\nHost: a\n\r\n"), 400 },
    { TEXT("GET / HTTP/1.1\nHost: a\r\n\r\n"), 400 },
    { TEXT(GET "\n"), 400 },
    { TEXT(GET "X: a\rb\r\n\r\n"), 400 },
    { TEXT(GET "X: a\r\rb\r\n\r\n"), 400 },
    { TEXT(GET "X: a\r\n b\r\n\r\n"), 400 },
    { TEXT(GET "X: a\r\n\tb\r\n\r\n"), 400 },
    { TEXT(GET " X: a\r\n\r\n"), 400 },
    { TEXT("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), 400 },
    { TEXT("GET / HTTP/1.1\rHost: a\r\n\r\n"), 400 },
    { TEXT("\n" GET "\r\n"), 400 },
    { TEXT("\r\n\r\n" GET "\r\n"), 400 },
    { TEXT("\r" GET "\r\n"), 400 },
    { TEXT(" " GET "\r\n"), 400 },
    { TEXT("\0" GET "\r\n"), 400 },
    { TEXT("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), 400 },
    /* names and values */
    { TEXT(GET "X Y: b\r\n\r\n"), 400 },
    { TEXT(GET "X : b\r\n\r\n"), 400 },
    { TEXT(GET ": b\r\n\r\n"), 400 },
    { TEXT(GET "X\r\n\r\n"), 400 },
    { TEXT(GET "X\0: b\r\n\r\n"), 400 },
    { TEXT(GET "X\x80: b\r\n\r\n"), 400 },
    { TEXT(GET "(X): b\r\n\r\n"), 400 },
    { TEXT(GET "X@Y: b\r\n\r\n"), 400 },
    { TEXT(GET "\"X\": b\r\n\r\n"), 400 },
    { TEXT(GET "X: a\0b\r\n\r\n"), 400 },
    { TEXT(GET "X: a\x01" "b\r\n\r\n"), 400 },
    { TEXT(GET "X: a\x1b[2J\r\n\r\n"), 400 },
    { TEXT(GET "X: a\x7f\r\n\r\n"), 400 },
    { TEXT(GET "X: a\x0b" "b\r\n\r\n"), 400 },
    /* the first line */
    { TEXT("GET\r\n"), 400 },
    { TEXT("GET /\r\n"), 400 },
    { TEXT("GET / HTTP/0.9\r\n\r\n"), 505 },
    { TEXT("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505 },
    { TEXT("GET / HTTP/1.2\r\nHost: a\r\n\r\n"), 505 },
    { TEXT("GET / HTTP/11\r\nHost: a\r\n\r\n"), 400 },
    { TEXT("GET / HTTP/1.10\r\nHost: a\r\n\r\n"), 400 },
    { TEXT("GET / HTTP/1.1 \r\nHost: a\r\n\r\n"), 400 },
    { TEXT("GET / http/1.1\r\nHost: a\r\n\r\n"), 400 },
    { TEXT("GET / HTTP/1,1\r\nHost: a\r\n\r\n"), 400 },
    { TEXT("GET / HTTPS/1.1\r\nHost: a\r\n\r\n"), 400 },
    { TEXT("SOURCE / ICE/1.0\r\nHost: a\r\n\r\n"), 400 },
    { TEXT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505 },
    { TEXT("get / HTTP/1.1\r\nHost: a\r\n\r\n"), 501 },
    { TEXT("FOO / HTTP/1.1\r\nHost: a\r\n\r\n"), 501 },
    { TEXT("GETX / HTTP/1.1\r\nHost: a\r\n\r\n"), 501 },
    { TEXT("GE / HTTP/1.1\r\nHost: a\r\n\r\n"), 501 },
    { TEXT("G\x01T / HTTP/1.1\r\nHost: a\r\n\r\n"), 400 },
    { TEXT("G(T / HTTP/1.1\r\nHost: a\r\n\r\n"), 400 },
    { TEXT("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"), 501 },
    { TEXT("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n"), 501 },
    { TEXT("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"), 501 },
    { TEXT("GET  / HTTP/1.1\r\nHost: a\r\n\r\n"), 400 },
    { TEXT("GET /  HTTP/1.1\r\nHost: a\r\n\r\n"), 400 },
    { TEXT("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400 },
    { TEXT("GET /\tHTTP/1.1\r\nHost: a\r\n\r\n"), 400 },
    /* targets */
    { TEXT("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"), 400 },
    { TEXT("GET / HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n"), 400 },
    { TEXT("GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n"), 400 },
    { TEXT("GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n"), 400 },
    { TEXT("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"), 400 },
    { TEXT("GET * HTTP/1.1\r\nHost: a\r\n\r\n"), 400 },
    { TEXT("OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n"), 400 },
    { TEXT("GET a HTTP/1.1\r\nHost: a\r\n\r\n"), 400 },
    { TEXT("GET ?a HTTP/1.1\r\nHost: a\r\n\r\n"), 400 },
    { TEXT("GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n"), 400 },
    { TEXT("GET http:// HTTP/1.1\r\nHost: a\r\n\r\n"), 400 },
    { TEXT("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n"), 400 },
    { TEXT("GET http://u@b/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400 },
    { TEXT("GET http://u:p@b/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400 },
    { TEXT("GET http://b:99999/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400 },
    { TEXT("GET http://b\\c/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400 },
    { TEXT("GET https://b/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400 },
    { TEXT("GET ftp://b/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400 },
    { TEXT("GET http://b/ HTTP/1.1\r\n\r\n"), 400 },
    /* whom it is for */
    { TEXT("GET / HTTP/1.1\r\n\r\n"), 400 },
    { TEXT("GET / HTTP/1.1\r\nHost: \r\n\r\n"), 400 },
    { TEXT(GET "Host: a\r\n\r\n"), 400 },
    { TEXT(GET "host: b\r\n\r\n"), 400 },
    { TEXT("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"), 400 },
    { TEXT("GET / HTTP/1.0\r\nHost: a/b\r\n\r\n"), 400 },
    { TEXT("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"), 400 },
    { TEXT("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), 400 },
    { TEXT("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"), 400 },
    { TEXT("GET / HTTP/1.1\r\nHost: a/../b\r\n\r\n"), 400 },
    { TEXT("GET / HTTP/1.1\r\nHost: a:x\r\n\r\n"), 400 },
    { TEXT("GET / HTTP/1.1\r\nHost: a:-1\r\n\r\n"), 400 },
    { TEXT("GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n"), 400 },
    { TEXT("GET / HTTP/1.1\r\nHost: a:000080\r\n\r\n"), 400 },
    { TEXT("GET / HTTP/1.1\r\nHost: :80\r\n\r\n"), 400 },
    { TEXT("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"), 400 },
    { TEXT("GET / HTTP/1.1\r\nHost: []\r\n\r\n"), 400 },
    { TEXT("GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n"), 400 },
    { TEXT("GET / HTTP/1.1\r\nHost: a<b>\r\n\r\n"), 400 },
    { TEXT("GET / HTTP/1.1\r\nHost: \xc3\xa4\r\n\r\n"), 400 },
    { TEXT("GET / HTTP/1.1\r\nHost : a\r\n\r\n"), 400 },
    /* what is expected */
    { TEXT(POST "Expect: 200-ok\r\nContent-Length: 3\r\n\r\nabc"), 417 },
    { TEXT(POST "Expect: 100-continue, x\r\nContent-Length: 3\r\n\r\nabc"), 417 },
    { TEXT(POST "Expect: \r\nContent-Length: 3\r\n\r\nabc"), 417 },
};

/* Broken answers: all 502. */
static const sample bad_responses[] = {
    { TEXT(OK200 "Content-Length: 2\r\nContent-Length: 2\r\n\r\nab"), 502 },
    { TEXT(OK200 "Content-Length: 2, 2\r\n\r\nab"), 502 },
    { TEXT(OK200 "Content-Length: 2\r\n" CODED "\r\n0\r\n\r\n"), 502 },
    { TEXT(OK200 "Content-Length: 99999999999999999999\r\n\r\n"), 502 },
    { TEXT(OK200 "Content-Length: 1073741825\r\n\r\n"), 502 },
    { TEXT(OK200 "Transfer-Encoding: gzip\r\n\r\nab"), 502 },
    { TEXT(OK200 "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), 502 },
    { TEXT("HTTP/1.0 200 OK\r\n" CODED "\r\n0\r\n\r\n"), 502 },
    { TEXT(OK200 CODED "\r\n3\r\nabcXX0\r\n\r\n"), 502 },
    { TEXT(OK200 CODED "\r\n-3\r\nabc\r\n0\r\n\r\n"), 502 },
    { TEXT(OK200 CODED "\r\n40000001\r\n"), 502 },
    { TEXT(OK200 "X: a\nSet-Cookie: b\r\n\r\n"), 502 },
    { TEXT(OK200 "X: a\rSet-Cookie: b\r\n\r\n"), 502 },
    { TEXT(OK200 "X: a\0b\r\n\r\n"), 502 },
    { TEXT(OK200 "X: a\x08\r\n\r\n"), 502 },
    { TEXT(OK200 "X: a\r\n b\r\n\r\n"), 502 },
    { TEXT(OK200 "X : a\r\n\r\n"), 502 },
    { TEXT(OK200 "<html>\r\n\r\n"), 502 },
    { TEXT("HTTP/1.1 200 O\x01K\r\n\r\n"), 502 },
    { TEXT("HTTP/1.1 200 O\rK\r\n\r\n"), 502 },
    { TEXT("HTTP/1.1 200 O\x7fK\r\n\r\n"), 502 },
    { TEXT("HTTP/1.1 200 OK\n\r\n"), 502 },
    { TEXT("HTTP/1.1 20 OK\r\n\r\n"), 502 },
    { TEXT("HTTP/1.1 0200 OK\r\n\r\n"), 502 },
    { TEXT("HTTP/1.1 2000 OK\r\n\r\n"), 502 },
    { TEXT("HTTP/1.1 099 OK\r\n\r\n"), 502 },
    { TEXT("HTTP/1.1 -20 OK\r\n\r\n"), 502 },
    { TEXT("HTTP/1.1  200 OK\r\n\r\n"), 502 },
    { TEXT("HTTP/1.1 200OK\r\n\r\n"), 502 },
    { TEXT("HTTP/1.1 200\tOK\r\n\r\n"), 502 },
    { TEXT("HTTP/1.1\r\n\r\n"), 502 },
    { TEXT("HTTP/2.0 200 OK\r\n\r\n"), 502 },
    { TEXT("HTTP/0.9 200 OK\r\n\r\n"), 502 },
    { TEXT("ICY 200 OK\r\n\r\n"), 502 },
    { TEXT("<html>hello</html>\r\n"), 502 },
    { TEXT("\r\n" OK200 "\r\n"), 502 },
    { TEXT("GET / HTTP/1.1\r\n\r\n"), 502 },
    { TEXT("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"), 502 },
    { TEXT("HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nhello" OK200 "\r\n"), 502 },
    { TEXT("HTTP/1.1 100 Continue\r\n" CODED "Content-Length: 5\r\n\r\n" OK200 "\r\n"), 502 },
};

/* Well-formed ones, oddities that are allowed among them. */
static const sample good_requests[] = {
    { TEXT(GET "\r\n"), 0 },
    { TEXT("\r\n" GET "\r\n"), 0 },
    { TEXT("GET /a/b?c=d&e=%00|{}\"<>^`\\ HTTP/1.1\r\n"
           "hOsT:\t a.example:8080 \t\r\nX:\r\nY: \r\nZ: a\tb \xc3\xa4 c\r\n\r\n"), 0 },
    { TEXT("GET / HTTP/1.0\r\n\r\n"), 0 },
    { TEXT("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), 0 },
    { TEXT("HEAD //x HTTP/1.1\r\nHost: [::1]:80\r\n!#$%&'*+-.^_`|~09azAZ: x\r\n\r\n"), 0 },
    { TEXT("OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1:\r\n\r\n"), 0 },
    { TEXT("GET http://b.example:81/x?y HTTP/1.1\r\nHost: a\r\n\r\n"), 0 },
    { TEXT("GET HTTP://b HTTP/1.1\r\nHost: a\r\n\r\n"), 0 },
    { TEXT("GET http://b?y HTTP/1.1\r\nHost: a\r\n\r\n"), 0 },
    { TEXT(POST "Content-Length: 11\r\n\r\nhello world"), 0 },
    { TEXT(POST "Content-Length:  003  \r\n\r\nabc"), 0 },
    { TEXT(POST "Content-Length: 0\r\n\r\n"), 0 },
    { TEXT("POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\n\r\n"), 0 },
    { TEXT(CHUNKED "3\r\nabc\r\n00a;x=\"y\";z\r\n0123456789\r\n0\r\n\r\n"), 0 },
    { TEXT(POST "TRANSFER-ENCODING: Chunked\r\n\r\n"
           "B\r\nhello world\r\n000;last\r\nX: y\r\nContent-Length: 7\r\n\r\n"), 0 },
    { TEXT(POST "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\nx"), 0 },
    { TEXT(GET "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n"), 0 },
    { TEXT(POST "Connection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\nContent-Length: 2\r\n\r\nxy"), 0 },
    { TEXT("PROPFIND /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nDepth: 1\r\n\r\n"), 0 },
    { TEXT("M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n"), 0 },
};

static const sample good_responses[] = {
    { TEXT(OK200 "Content-Length: 2\r\n\r\nab"), 0 },
    { TEXT("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"), 0 },
    { TEXT("HTTP/1.1 999 \r\nContent-Length: 0\r\n\r\n"), 0 },
    { TEXT("HTTP/1.0 404 Not \xc3\xa4 Found\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nab"), 0 },
    { TEXT(OK200 CODED "\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n"), 0 },
    { TEXT("HTTP/1.1 204 No Content\r\n\r\n"), 0 },
    { TEXT("HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n"), 0 },
    { TEXT("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"), 0 },
    { TEXT("HTTP/1.1 304 Not Modified\r\n" CODED "\r\n"), 0 },
    { TEXT("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" OK200
           "Content-Length: 1\r\n\r\nx"), 0 },
};

static px_message message, again, asker;
static char got[1 << 16], written_to[PX_WRITE_MOST];
static size_t got_size;

static void collect(void *self, const char *bytes, size_t size)
{
    if (self == &message && got_size + size <= sizeof got) memcpy(got + got_size, bytes, size);
    got_size += size;
}

/* A piece in a block of its own size. */
static size_t feed(px_message *m, const char *bytes, size_t size)
{
    char *exact = malloc(size ? size : 1);
    size_t used;

    if (!exact) return 0;
    memcpy(exact, bytes, size);
    used = px_message_feed(m, exact, size, collect, &message);
    free(exact);
    return used;
}

static void begin(px_message *m, px_kind kind, const px_message *asked)
{
    px_limits limits;

    px_limits_default(&limits);
    px_message_begin(m, kind, &limits, asked);
    got_size = 0;
}

/* In pieces of step bytes, the first of them `first` long. */
static size_t read_in(px_message *m, px_kind kind, const char *text, size_t size, size_t first, size_t step)
{
    size_t used = 0, piece = first, more;

    begin(m, kind, NULL);
    while (used < size && (m->phase == PX_HEAD || m->phase == PX_BODY)) {
        if (piece > size - used) piece = size - used;
        more = feed(m, text + used, piece);
        used += more;
        if (more < piece) break;
        piece = step;
    }
    return used;
}

static size_t read_whole(px_message *m, px_kind kind, const char *text, size_t size)
{
    return read_in(m, kind, text, size, size, size);
}

static void read_text(px_message *m, px_kind kind, const char *text)
{
    read_whole(m, kind, text, strlen(text));
}

/* All that a caller sees of a message, as text. */
static void describe(const px_message *m, size_t used, char *to, size_t room)
{
    size_t n;
    int32_t i;

    n = (size_t)snprintf(to, room, "%d %d %s %d %d%d%d%d%d%d %ld %ld %lu [%.*s][%.*s][%.*s]", m->phase, (int)m->status,
                         m->why ? m->why : "", (int)m->method, (int)m->minor, m->keep_alive, m->chunked, m->until_close,
                         m->bodiless, m->expects, (long)m->length, (long)m->body,
                         (unsigned long)(m->phase == PX_BROKEN ? 0 : used), (int)m->target.size,
                         m->target.text ? m->target.text : "", (int)m->host.size, m->host.text ? m->host.text : "",
                         (int)m->reason.size, m->reason.text ? m->reason.text : "");
    for (i = 0; i < m->headers && n < room; i++) {
        n += (size_t)snprintf(to + n, room - n, "\n%.*s=%.*s/%d", (int)m->header[i].name_size,
                              m->head + m->header[i].name_at, (int)m->header[i].value_size,
                              m->head + m->header[i].value_at, (int)m->header[i].what);
    }
    if (n < room && got_size < 4096) snprintf(to + n, room - n, "\n%.*s", (int)got_size, got);
}

static void check_refused(px_kind kind, const sample *s)
{
    read_whole(&message, kind, s->text, s->size);
    test_check(message.phase == PX_BROKEN && message.status == s->status && message.why && !message.keep_alive,
               __FILE__, __LINE__, "phase %d, status %d (%s), should be %d: %.*s", message.phase, (int)message.status,
               message.why ? message.why : "", (int)s->status, (int)s->size, s->text);
    CHECK_EQ_I(px_message_feed(&message, "GET", 3, collect, &message), 0);
}

static void check_whole(px_kind kind, const sample *s)
{
    size_t used = read_whole(&message, kind, s->text, s->size);

    test_check(message.phase == PX_WHOLE && used == s->size, __FILE__, __LINE__, "phase %d (%s), %lu of %lu: %.*s",
               message.phase, message.why ? message.why : "", (unsigned long)used, (unsigned long)s->size, (int)s->size,
               s->text);
}

TEST(broken_requests_are_refused)
{
    size_t i;

    for (i = 0; i < LENGTH_OF(bad_requests); i++) check_refused(PX_REQUEST, &bad_requests[i]);
}

TEST(broken_responses_are_refused)
{
    size_t i;

    for (i = 0; i < LENGTH_OF(bad_responses); i++) check_refused(PX_RESPONSE, &bad_responses[i]);
}

TEST(well_formed_ones_are_not)
{
    size_t i;

    for (i = 0; i < LENGTH_OF(good_requests); i++) check_whole(PX_REQUEST, &good_requests[i]);
    for (i = 0; i < LENGTH_OF(good_responses); i++) check_whole(PX_RESPONSE, &good_responses[i]);
}

/* What the parser alone would have passed on: how many of the refusals are ours. */
TEST(what_the_parser_lets_through)
{
    http_parser_settings settings;
    http_parser parser;
    int alone = 0;
    size_t i;

    http_parser_settings_init(&settings);
    for (i = 0; i < LENGTH_OF(bad_requests); i++) {
        http_parser_init(&parser, HTTP_REQUEST);
        if (http_parser_execute(&parser, &settings, bad_requests[i].text, bad_requests[i].size) ==
            bad_requests[i].size) {
            alone++;
        }
    }
    NOTE("http_parser lets %d of %d broken requests through", alone, (int)LENGTH_OF(bad_requests));
    CHECK(alone < (int)LENGTH_OF(bad_requests));
}

static void check_splits(px_kind kind, const sample *s)
{
    char one[8192], other[8192];
    size_t at, used = read_whole(&message, kind, s->text, s->size);

    describe(&message, used, one, sizeof one);
    for (at = 0; at < s->size; at++) { /* at 0: byte by byte */
        used = read_in(&message, kind, s->text, s->size, at ? at : 1, at ? s->size : 1);
        describe(&message, used, other, sizeof other);
        if (strcmp(one, other) == 0) continue;
        test_check(false, __FILE__, __LINE__, "split at %lu: %s\n-- whole: %s", (unsigned long)at, other, one);
        return;
    }
    CHECK(true);
}

TEST(pieces_change_nothing)
{
    static const struct { px_kind kind; const sample *s; size_t n; } all[] = {
        { PX_REQUEST, bad_requests, LENGTH_OF(bad_requests) },
        { PX_REQUEST, good_requests, LENGTH_OF(good_requests) },
        { PX_RESPONSE, bad_responses, LENGTH_OF(bad_responses) },
        { PX_RESPONSE, good_responses, LENGTH_OF(good_responses) },
    };
    size_t i, k;

    for (i = 0; i < LENGTH_OF(all); i++) {
        for (k = 0; k < all[i].n; k++) check_splits(all[i].kind, &all[i].s[k]);
    }
}

/* A message that ends too early is never whole. */
TEST(nothing_is_whole_before_its_end)
{
    size_t i, at;

    for (i = 0; i < LENGTH_OF(good_requests); i++) {
        for (at = 0; at < good_requests[i].size; at++) {
            read_whole(&message, PX_REQUEST, good_requests[i].text, at);
            CHECK(message.phase == PX_HEAD || message.phase == PX_BODY);
            px_message_close(&message);
            CHECK_EQ_I(message.phase, PX_BROKEN);
        }
    }
    for (i = 0; i < LENGTH_OF(good_responses); i++) {
        for (at = 0; at < good_responses[i].size; at++) {
            read_whole(&message, PX_RESPONSE, good_responses[i].text, at);
            px_message_close(&message);
            CHECK_EQ_I(message.phase, PX_BROKEN);
            CHECK_EQ_I(message.status, 502);
        }
    }
}

/* All good requests one after the other, in pieces of every size up to 64 bytes: each is found, with its own body. */
TEST(pipelined_requests_come_apart)
{
    static char line[1 << 14];
    char alone[8192], found[8192];
    size_t size = 0, i, step, at, used;

    for (i = 0; i < LENGTH_OF(good_requests); i++) {
        memcpy(line + size, good_requests[i].text, good_requests[i].size);
        size += good_requests[i].size;
    }
    for (step = 1; step <= 64; step++) {
        at = 0;
        for (i = 0; i < LENGTH_OF(good_requests); i++) {
            read_whole(&again, PX_REQUEST, good_requests[i].text, good_requests[i].size);
            describe(&again, good_requests[i].size, alone, sizeof alone);
            used = read_in(&message, PX_REQUEST, line + at, size - at, step, step);
            describe(&message, used, found, sizeof found);
            CHECK_STR(found, alone);
            at += used;
        }
        CHECK_EQ_I(at, size);
    }
}

TEST(what_a_request_says)
{
    read_text(&message, PX_REQUEST, "PUT http://B.example:81?q=1 HTTP/1.1\r\nhost: a\r\nX-Key:  k 1 \r\nx-key: 2\r\n"
                                    "Cookie: ab=1; b=2=3 ;c=\r\nCookie: d=4\r\nExpect: 100-continue\r\n" CODED "\r\n");
    REQUIRE(message.phase == PX_BODY);
    CHECK_EQ_I(message.method, HTTP_PUT);
    CHECK(message.target.size == 5 && memcmp(message.target.text, "/?q=1", 5) == 0);
    CHECK(message.host.size == 12 && memcmp(message.host.text, "B.example:81", 12) == 0);
    CHECK(message.keep_alive && message.chunked && message.expects);
    CHECK_EQ_I(message.length, -1);
    CHECK(same(px_message_header(&message, "X-KEY"), "k 1"));
    CHECK(px_message_header(&message, "X-Ke").text == NULL);
    CHECK(same(px_message_cookie(&message, "ab"), "1"));
    CHECK(same(px_message_cookie(&message, "b"), "2=3"));
    CHECK(same(px_message_cookie(&message, "d"), "4"));
    CHECK(px_message_cookie(&message, "c").text && px_message_cookie(&message, "c").size == 0);
    CHECK(px_message_cookie(&message, "a").text == NULL && px_message_cookie(&message, "B").text == NULL);
    CHECK_EQ_I(px_message_framing(&message, false), PX_CHUNKS);
    CHECK_EQ_I(feed(&message, TEXT("5\r\nhello\r\n0\r\n\r\n")), 15);
    CHECK_EQ_I(message.phase, PX_WHOLE);
    CHECK_EQ_I(message.body, 5);
    CHECK_MEM(got, "hello", 5);

    read_text(&message, PX_REQUEST, "GET / HTTP/1.0\r\n\r\n");
    CHECK(!message.keep_alive && message.minor == 0 && message.host.size == 0);
    read_text(&message, PX_REQUEST, "GET / HTTP/1.0\r\nConnection: x, Keep-Alive\r\n\r\n");
    CHECK(message.keep_alive);
    read_text(&message, PX_REQUEST, GET "Connection: x, Close\r\n\r\n");
    CHECK(!message.keep_alive);
    read_text(&message, PX_REQUEST, GET "Expect: 100-continue\r\n\r\n");
    CHECK(message.phase == PX_WHOLE && !message.expects);
    read_text(&message, PX_REQUEST, "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n");
    CHECK(message.phase == PX_BODY && !message.expects);
}

static void read_answer(const char *method, const char *text)
{
    char request[64];

    snprintf(request, sizeof request, "%s / HTTP/1.1\r\nHost: a\r\n\r\n", method);
    read_text(&asker, PX_REQUEST, request);
    begin(&message, PX_RESPONSE, &asker);
    feed(&message, text, strlen(text));
}

TEST(where_an_answer_ends)
{
    read_answer("HEAD", OK200 "Content-Length: 2000000000\r\n\r\n");
    CHECK(message.phase == PX_WHOLE && message.bodiless && message.keep_alive && message.length == 2000000000);
    read_answer("HEAD", OK200 CODED "\r\n");
    CHECK(message.phase == PX_WHOLE && message.keep_alive);
    read_answer("HEAD", OK200 "\r\n");
    CHECK(message.phase == PX_WHOLE);
    read_answer("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n");
    CHECK(message.phase == PX_WHOLE && message.keep_alive);
    read_answer("GET", "HTTP/1.1 204 No Content\r\n\r\n");
    CHECK(message.phase == PX_WHOLE && message.keep_alive);
    read_answer("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n");
    CHECK(message.phase == PX_WHOLE && !message.keep_alive);
    read_answer("GET", "HTTP/1.1 204 No Content\r\n" CODED "\r\n");
    CHECK(message.phase == PX_WHOLE && !message.keep_alive);

    read_answer("GET", OK200 "\r\nall that comes");
    CHECK(message.phase == PX_BODY && message.until_close && !message.keep_alive);
    px_message_close(&message);
    CHECK_EQ_I(message.phase, PX_WHOLE);
    CHECK_EQ_I(message.body, 14);
    CHECK_EQ_I(got_size, 14);
    read_answer("GET", "HTTP/1.0 200 OK\r\n\r\n");
    px_message_close(&message);
    CHECK(message.phase == PX_WHOLE && message.body == 0);

    read_answer("GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nX: 1\r\n\r\n" OK200
                       "Content-Length: 2\r\nY: 2\r\n\r\nab");
    CHECK(message.phase == PX_WHOLE && message.status == 200 && message.headers == 2 && message.body == 2);
    CHECK(px_message_header(&message, "x").text == NULL);
}

TEST(no_end_of_interim_answers)
{
    int i;

    begin(&message, PX_RESPONSE, NULL);
    for (i = 0; i < 1000 && message.phase == PX_HEAD; i++) feed(&message, TEXT("HTTP/1.1 100 Continue\r\n\r\n"));
    CHECK(i > 8 && i < 100);
    CHECK_EQ_I(message.status, 502);
}

/* ---- limits ------------------------------------------------------------------------------------------------------ */

static int32_t status_with(const px_limits *limits, const char *text, size_t size)
{
    px_message_begin(&message, PX_REQUEST, limits, NULL);
    got_size = 0;
    feed(&message, text, size);
    return message.phase == PX_WHOLE ? 200 : message.phase == PX_BROKEN ? message.status : 0;
}

TEST(limits_are_met_to_the_byte)
{
    static const char head[] = "GET /234567 HTTP/1.1\r\nHost: a\r\nB: c\r\n\r\n";
    px_limits limits;

    px_limits_default(&limits);
    limits.head_bytes = sizeof head - 1;
    limits.target_bytes = 7;
    limits.headers = 2;
    CHECK_EQ_I(status_with(&limits, TEXT(head)), 200);
    limits.head_bytes--;
    CHECK_EQ_I(status_with(&limits, TEXT(head)), 431);
    limits.head_bytes++;
    limits.target_bytes--;
    CHECK_EQ_I(status_with(&limits, TEXT(head)), 414);
    limits.target_bytes++;
    limits.headers--;
    CHECK_EQ_I(status_with(&limits, TEXT(head)), 431);
    limits.head_bytes = 12;
    CHECK_EQ_I(status_with(&limits, TEXT(head)), 414);
    limits.head_bytes = 0;
    CHECK_EQ_I(status_with(&limits, TEXT(head)), 414);
}

TEST(limits_of_bodies)
{
    px_limits limits;

    px_limits_default(&limits);
    limits.body_bytes = 5;
    CHECK_EQ_I(status_with(&limits, TEXT(POST "Content-Length: 5\r\n\r\nabcde")), 200);
    CHECK_EQ_I(status_with(&limits, TEXT(POST "Content-Length: 6\r\n\r\n")), 413);
    CHECK_EQ_I(status_with(&limits, TEXT(CHUNKED "2\r\nab\r\n3\r\nabc\r\n0\r\n\r\n")), 200);
    CHECK_EQ_I(status_with(&limits, TEXT(CHUNKED "2\r\nab\r\n4\r\n")), 413);
    px_message_begin(&message, PX_RESPONSE, &limits, NULL);
    got_size = 0;
    feed(&message, TEXT(OK200 "\r\nabcde"));
    CHECK_EQ_I(message.phase, PX_BODY);
    feed(&message, TEXT("f"));
    CHECK_EQ_I(message.status, 502);
    CHECK_EQ_I(got_size, 5);
}

/* Endless lines stop at the limit, whatever they are. */
TEST(endless_input_is_cut)
{
    static const struct { const char *start, *more; int32_t status; } endless[] = {
        { "", "GET ", 414 },
        { "GET /", "a", 414 },
        { "GET / HTTP/1.1\r\nX: ", "a", 431 },
        { "GET / HTTP/1.1\r\n", "a", 431 },
        { "GET / HTTP/1.1\r\n", "X: y\r\n", 431 },
        { CHUNKED "0\r\n", "X: y\r\n", 431 },
        { CHUNKED "0\r\n", "x", 431 },
        { CHUNKED "1;", "x", 400 },
        { CHUNKED "", "0", 413 },
        { POST "Connection: ", "a, ", 431 },
    };
    size_t i, k, fed;

    for (i = 0; i < LENGTH_OF(endless); i++) {
        begin(&message, PX_REQUEST, NULL);
        fed = feed(&message, endless[i].start, strlen(endless[i].start));
        for (k = 0; k < 40000 && message.phase != PX_BROKEN; k++) {
            fed += feed(&message, endless[i].more, strlen(endless[i].more));
        }
        CHECK_EQ_I(message.phase, PX_BROKEN);
        CHECK_EQ_I(message.status, endless[i].status);
        CHECK(fed <= 2 * PX_HEAD_MOST);
    }
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static const char *request_written(const char *text)
{
    int32_t size;

    read_text(&message, PX_REQUEST, text);
    if (message.phase == PX_BROKEN || message.phase == PX_HEAD) return message.why;
    size = px_request_write(&message, "192.0.2.1", "10.0.0.1:80", false, written_to, sizeof written_to - 1);
    if (size < 0) return "does not fit";
    written_to[size] = 0;
    return written_to;
}

#define OURS "X-Forwarded-For: 192.0.2.1\r\nVia: 1.1 rllb\r\n\r\n"

TEST(requests_are_written_anew)
{
    CHECK_STR(request_written("GET http://b/x HTTP/1.1\r\nUser-Agent:x\r\nHOST: a\r\naccept:  */* \r\n\r\n"),
              "GET /x HTTP/1.1\r\nHost: b\r\nUser-Agent: x\r\naccept: */*\r\n" OURS);
    CHECK_STR(request_written("GET / HTTP/1.0\r\n\r\n"), "GET / HTTP/1.1\r\nHost: 10.0.0.1:80\r\n"
                                                         "X-Forwarded-For: 192.0.2.1\r\nVia: 1.0 rllb\r\n\r\n");
    CHECK_STR(request_written(POST "Content-Length: 007\r\nVia: 1.1 x\r\n\r\n"),
              POST "Via: 1.1 x\r\nContent-Length: 7\r\n" OURS);
    CHECK_STR(request_written(POST "Content-Length: 0\r\n\r\n"), POST "Content-Length: 0\r\n" OURS);
    CHECK_STR(request_written(POST "transfer-encoding: CHUNKED\r\n\r\n"), POST CODED OURS);
    CHECK_STR(request_written(GET "X-Forwarded-For: 1.2.3.4, 5.6.7.8\r\nX: y\r\nx-forwarded-for:\r\n"
                                  "x-forwarded-for: 9.9.9.9\r\n\r\n"),
              GET "X: y\r\nX-Forwarded-For: 1.2.3.4, 5.6.7.8, 9.9.9.9, 192.0.2.1\r\nVia: 1.1 rllb\r\n\r\n");
    CHECK_STR(request_written("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), "OPTIONS * HTTP/1.1\r\nHost: a\r\n" OURS);
}

TEST(hop_by_hop_headers_end_here)
{
    CHECK_STR(request_written(POST "Connection: keep-alive, X-Secret ,,x-other\r\nKeep-Alive: timeout=5\r\n"
                                   "TE: trailers\r\nX-Secret: 1\r\nX-Secret: 2\r\nx-OTHER: 3\r\nX-Mine: 4\r\n"
                                   "Trailer: X\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"
                                   "Proxy-Connection: close\r\nProxy: http://evil/\r\nProxy-Authorization: x\r\n"
                                   "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n"),
              POST "X-Mine: 4\r\nContent-Length: 1\r\n" OURS);
    CHECK_STR(request_written(POST "Connection: close, Host, Content-Length, X-Forwarded-For, X-Forwarded-Proto, Via, "
                                   "Forwarded, X-Real-IP, Content-Type, Transfer-Encoding, Connection\r\n"
                                   "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nForwarded: for=x\r\n"
                                   "X-Real-IP: y\r\nContent-Type: z\r\nContent-Length: 1\r\nVia: 1.1 v\r\n\r\n"),
              POST "X-Forwarded-Proto: https\r\nForwarded: for=x\r\nX-Real-IP: y\r\nContent-Type: z\r\nVia: 1.1 v\r\n"
                   "Content-Length: 1\r\nX-Forwarded-For: 1.2.3.4, 192.0.2.1\r\nVia: 1.1 rllb\r\n\r\n");
    CHECK_STR(request_written(GET "X_Forwarded_For: 1.1.1.1\r\nX.Y: 2\r\n!: 3\r\nX-Y-2: 4\r\n\r\n"),
              GET "X-Y-2: 4\r\n" OURS);
    CHECK(same(px_message_header(&message, "x_forwarded_for"), "1.1.1.1"));
    CHECK_STR(request_written(GET "Connection: 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16\r\n"
                                  "Connection: 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17\r\n\r\n"),
              "Connection names too many headers");
}

static const char *answer_written(const char *method, const char *text, bool http10, bool close)
{
    int32_t size;

    read_answer(method, text);
    if (message.phase == PX_BROKEN || message.phase == PX_HEAD) return message.why;
    size = px_response_write(&message, http10, close, written_to, sizeof written_to - 1);
    if (size < 0) return "does not fit";
    written_to[size] = 0;
    return written_to;
}

TEST(answers_are_written_anew)
{
    static const char coded[] = OK200 "Connection: close, X-Hop\r\nX-Hop: 1\r\nSet-Cookie: a\r\nset-cookie:b\r\n"
                                      "X_Y: z\r\nUpgrade: h2c\r\nServer:\r\n" CODED "\r\n";

    CHECK_STR(answer_written("GET", "HTTP/1.0 404 Gone fishing\r\nContent-Length: 04\r\n\r\n", false, false),
              "HTTP/1.1 404 Gone fishing\r\nContent-Length: 4\r\n\r\n");
    CHECK_STR(answer_written("GET", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", false, true),
              "HTTP/1.1 200 \r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    CHECK_STR(answer_written("GET", coded, false, false),
              OK200 "Set-Cookie: a\r\nset-cookie: b\r\nX_Y: z\r\nServer: \r\n" CODED "\r\n");
    CHECK_STR(answer_written("GET", coded, true, false),
              OK200 "Set-Cookie: a\r\nset-cookie: b\r\nX_Y: z\r\nServer: \r\nConnection: close\r\n\r\n");
    CHECK_EQ_I(px_message_framing(&message, true), PX_UNTIL_CLOSE);
    CHECK_EQ_I(px_message_framing(&message, false), PX_CHUNKS);
    CHECK_STR(answer_written("GET", OK200 "\r\n", false, false), OK200 CODED "\r\n");
    CHECK_STR(answer_written("GET", OK200 "Content-Length: 3\r\n\r\n", true, false),
              OK200 "Content-Length: 3\r\nConnection: keep-alive\r\n\r\n");
    CHECK_STR(answer_written("HEAD", OK200 "Content-Length: 3\r\n\r\n", false, false),
              OK200 "Content-Length: 3\r\n\r\n");
    CHECK_STR(answer_written("HEAD", coded, true, false),
              OK200 "Set-Cookie: a\r\nset-cookie: b\r\nX_Y: z\r\nServer: \r\nConnection: keep-alive\r\n\r\n");
    CHECK_STR(answer_written("GET", "HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\n", false, false),
              "HTTP/1.1 204 No\r\n\r\n");
    CHECK_STR(answer_written("GET", "HTTP/1.1 304 No\r\nETag: x\r\nContent-Length: 3\r\n\r\n", false, false),
              "HTTP/1.1 304 No\r\nETag: x\r\nContent-Length: 3\r\n\r\n");
}

TEST(answers_of_our_own)
{
    static const int32_t status[] = { 400, 408, 413, 414, 417, 431, 501, 502, 503, 504, 505 };
    char chunk[24];
    int32_t size;
    size_t i;

    for (i = 0; i < LENGTH_OF(status); i++) {
        size = px_answer_write(status[i], false, true, written_to, sizeof written_to);
        REQUIRE(size > 0);
        read_answer("GET", "");
        CHECK_EQ_I(feed(&message, written_to, (size_t)size), size);
        CHECK(message.phase == PX_WHOLE && message.status == status[i] && !message.keep_alive && message.body > 1);
        CHECK_EQ_I(px_message_header(&message, "Retry-After").text != NULL, status[i] >= 502 && status[i] <= 504);
        size = px_answer_write(status[i], true, false, written_to, sizeof written_to);
        read_answer("HEAD", "");
        CHECK_EQ_I(feed(&message, written_to, (size_t)size), size);
        CHECK(message.phase == PX_WHOLE && message.keep_alive && message.body == 0);
        CHECK_EQ_I(px_answer_write(status[i], true, false, written_to, size - 1), -1);
    }
    size = px_answer_write(100, false, false, written_to, sizeof written_to);
    CHECK_EQ_I(size, 25);
    CHECK_MEM(written_to, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    CHECK_EQ_I(px_chunk_write(0, chunk), 5);
    CHECK_STR(chunk, "0\r\n\r\n");
    CHECK_EQ_I(px_chunk_write(26, chunk), 4);
    CHECK_STR(chunk, "1a\r\n");
    px_chunk_write(SIZE_MAX, chunk);
    CHECK(strlen(chunk) < sizeof chunk);
}

/* Room for the largest head, and never a byte more than there is room for. */
TEST(written_heads_fit)
{
    static char text[PX_HEAD_MOST + 1];
    char host[257], *small;
    size_t n;
    int32_t i, size;

    memset(host, 'h', 256);
    host[256] = 0;
    n = (size_t)snprintf(text, sizeof text, "GET / HTTP/1.0\r\n");
    for (i = 0; i < 99; i++) n += (size_t)snprintf(text + n, sizeof text - n, "a:b\r\n");
    n += (size_t)snprintf(text + n, sizeof text - n, "c:");
    memset(text + n, 'x', PX_HEAD_MOST - 4 - n);
    memcpy(text + PX_HEAD_MOST - 4, "\r\n\r\n", 5);
    read_text(&message, PX_REQUEST, text);
    REQUIRE(message.phase == PX_WHOLE && message.used == PX_HEAD_MOST);
    size = px_request_write(&message, host, host, true, written_to, sizeof written_to);
    CHECK(size > PX_HEAD_MOST && size <= PX_WRITE_MOST);

    read_text(&message, PX_REQUEST, POST "X-Forwarded-For: 1\r\nConnection: x\r\nContent-Length: 1\r\n\r\n");
    size = px_request_write(&message, "192.0.2.1", "h", true, written_to, sizeof written_to);
    for (i = 0; i < size; i++) {
        small = malloc((size_t)i + 1);
        REQUIRE(small);
        CHECK_EQ_I(px_request_write(&message, "192.0.2.1", "h", true, small, i), -1);
        free(small);
    }
}

/* What is written of anything that is accepted is one message, the same one, when it is read again. */
TEST(what_is_written_has_one_reading)
{
    static const char *const methods[] = { "GET", "HEAD" };
    size_t i, k;
    int32_t size;

    for (i = 0; i < LENGTH_OF(good_requests); i++) {
        read_whole(&message, PX_REQUEST, good_requests[i].text, good_requests[i].size);
        size = px_request_write(&message, "::1", "b", i % 2 == 0, written_to, sizeof written_to);
        REQUIRE(size > 0);
        CHECK_EQ_I(read_whole(&again, PX_REQUEST, written_to, (size_t)size), size);
        CHECK_EQ_I(again.phase == PX_WHOLE, px_message_framing(&message, false) == PX_NO_BODY || message.length == 0);
        CHECK(again.method == message.method && again.length == message.length && again.chunked == message.chunked);
        CHECK(again.target.size == message.target.size &&
              memcmp(again.target.text, message.target.text, (size_t)again.target.size) == 0);
        CHECK_EQ_I(again.keep_alive, i % 2 != 0);
    }
    for (i = 0; i < LENGTH_OF(good_responses) * 2; i++) {
        k = i / 2;
        if (i % 2 && k != 0 && k != 4) continue;
        read_answer(methods[i % 2], "");
        feed(&message, good_responses[k].text, good_responses[k].size);
        size = px_response_write(&message, false, false, written_to, sizeof written_to);
        REQUIRE(size > 0);
        begin(&again, PX_RESPONSE, &asker);
        CHECK_EQ_I(feed(&again, written_to, (size_t)size), size);
        CHECK(again.status == message.status && again.bodiless == message.bodiless && again.keep_alive);
        CHECK_EQ_I(px_message_framing(&again, false), px_message_framing(&message, false));
    }
}
