/*
 * A UDP socket that gives many datagrams per system call and wakes JavaScript once for all of them.
 * [recvmmsg(2), sendmmsg(2)]
 *
 * An optional part: `scripts/build-native.mjs` compiles it where there is a C compiler, and where there is none the
 * gateway takes node:dgram alone. What is read and written is the caller's memory; the one thing allocated here is a
 * `watch`, which exists from `watch` to `unwatch`, or to the end of Node's environment.
 *
 * Built without Node's headers: the declarations in node-api.h and below are those of Node-API 8, whose binary interface is
 * stable. How it waits for a socket is in watch.h, how it writes addresses in udp-addresses.h.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node-api.h"
#include "udp-addresses.h"
#include "watch.h"

extern napi_status napi_get_value_string_utf8(napi_env, napi_value, char *, size_t, size_t *);
extern napi_status napi_get_value_bool(napi_env, napi_value, bool *);
extern napi_status napi_create_string_utf8(napi_env, const char *, size_t, napi_value *);

enum { batch_max = 64 };

typedef struct {
  int32_t fd;
  int32_t count; /* only with `send` */
  uint8_t *arena;
  size_t arena_bytes;
  uint32_t *words;
  size_t datagrams_max;
  uint32_t *locals; /* NULL: the socket has one address */
} arguments;

/* (fd, arena: Uint8Array, words: Uint32Array, count, locals?: Uint32Array). False: an exception is pending. */
static bool read_arguments(napi_env env, napi_callback_info info, arguments *out) {
  napi_value values[5];
  size_t given = 5;
  int type = -1;
  void *data = NULL;
  size_t length = 0;
  if (napi_get_cb_info(env, info, &given, values, NULL, NULL) != 0 || given < 4) goto wrong;
  if (napi_get_value_int32(env, values[0], &out->fd) != 0 || out->fd < 0) goto wrong;
  if (napi_get_typedarray_info(env, values[1], &type, &length, &data, NULL, NULL) != 0 || type != typed_array_uint8)
    goto wrong;
  out->arena = data;
  out->arena_bytes = length;
  if (napi_get_typedarray_info(env, values[2], &type, &length, &data, NULL, NULL) != 0 || type != typed_array_uint32)
    goto wrong;
  out->words = data;
  out->datagrams_max = length / words_per_datagram;
  if (napi_get_value_int32(env, values[3], &out->count) != 0 || out->count < 0) goto wrong;
  if (out->datagrams_max > batch_max) out->datagrams_max = batch_max;
  if (out->datagrams_max == 0 || (size_t)out->count > out->datagrams_max) goto wrong;
  out->locals = NULL;
  if (napi_typeof(env, values[4], &type) != 0) goto wrong;
  if (type == type_undefined) return true;
  if (napi_get_typedarray_info(env, values[4], &type, &length, &data, NULL, NULL) != 0 || type != typed_array_uint32 ||
      length / words_per_local < out->datagrams_max)
    goto wrong;
  out->locals = data;
  return true;
wrong:
  napi_throw_type_error(env, NULL, "expected (fd, Uint8Array, Uint32Array, count, Uint32Array or nothing)");
  return false;
}

/*
 * locals(fd): 1 = the socket is bound to all addresses, and tells from now on which one each datagram was sent to; 0 = it
 * has one address; -errno.
 */
static napi_value tell_locals(napi_env env, napi_callback_info info) {
  napi_value value;
  size_t given = 1;
  int32_t fd = -1;
  struct sockaddr_storage own;
  socklen_t length = sizeof own;
  const int on = 1;
  if (napi_get_cb_info(env, info, &given, &value, NULL, NULL) != 0 || given < 1 ||
      napi_get_value_int32(env, value, &fd) != 0) {
    napi_throw_type_error(env, NULL, "expected a descriptor");
    return NULL;
  }
  if (getsockname(fd, (struct sockaddr *)&own, &length) != 0) return number(env, -errno);
  int failed;
  if (own.ss_family == AF_INET6) {
    if (!IN6_IS_ADDR_UNSPECIFIED(&((struct sockaddr_in6 *)&own)->sin6_addr)) return number(env, 0);
    failed = setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on);
  } else {
    if (((struct sockaddr_in *)&own)->sin_addr.s_addr != htonl(INADDR_ANY)) return number(env, 0);
    failed = setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
  }
  return number(env, failed != 0 ? -errno : 1);
}

/* open(host, port): a bound socket for an IPv4 or IPv6 literal; -errno when it cannot be had. */
static napi_value open_socket(napi_env env, napi_callback_info info) {
  napi_value values[2];
  size_t given = 2;
  char host[256];
  char port_text[8];
  int32_t port = 0;
  size_t length = 0;
  const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_DGRAM};
  struct addrinfo *found = NULL;
  const int on = 1;
  if (napi_get_cb_info(env, info, &given, values, NULL, NULL) != 0 || given < 2 ||
      napi_get_value_string_utf8(env, values[0], host, sizeof host, &length) != 0 ||
      napi_get_value_int32(env, values[1], &port) != 0 || port < 0 || port > 65535) {
    napi_throw_type_error(env, NULL, "expected (host, port)");
    return NULL;
  }
  snprintf(port_text, sizeof port_text, "%d", (int)port);
  if (getaddrinfo(host, port_text, &hints, &found) != 0) return number(env, -EINVAL);
  int fd = socket(found->ai_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  bool failed = fd < 0;
  if (!failed && found->ai_family == AF_INET6) failed = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0;
  if (!failed) failed = bind(fd, found->ai_addr, found->ai_addrlen) != 0;
  int why = errno;
  freeaddrinfo(found);
  if (!failed) return number(env, fd);
  if (fd >= 0) close(fd);
  return number(env, -why);
}

/* address(host, port, words, index): the other way round. False: that is no literal. */
static napi_value address_of(napi_env env, napi_callback_info info) {
  napi_value values[4];
  size_t given = 4;
  int type = -1;
  int32_t index = 0;
  int32_t port = 0;
  void *data = NULL;
  size_t length = 0;
  char host[256];
  const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_DGRAM};
  struct addrinfo *found = NULL;
  struct sockaddr_storage address;
  if (napi_get_cb_info(env, info, &given, values, NULL, NULL) != 0 || given < 4 ||
      napi_get_value_string_utf8(env, values[0], host, sizeof host, &length) != 0 ||
      napi_get_value_int32(env, values[1], &port) != 0 ||
      napi_get_typedarray_info(env, values[2], &type, &length, &data, NULL, NULL) != 0 || type != typed_array_uint32 ||
      napi_get_value_int32(env, values[3], &index) != 0 || index < 0 ||
      (size_t)index >= length / words_per_datagram) {
    napi_throw_type_error(env, NULL, "expected (host, port, Uint32Array, index)");
    return NULL;
  }
  if (getaddrinfo(host, NULL, &hints, &found) != 0) return number(env, 0);
  memset(&address, 0, sizeof address);
  memcpy(&address, found->ai_addr, found->ai_addrlen);
  freeaddrinfo(found);
  uint32_t *words = (uint32_t *)data + (size_t)index * words_per_datagram;
  store_address(&address, words);
  words[word_port] = (uint32_t)port;
  return number(env, 1);
}

/* host(words, index): the address of one datagram as Node writes it. */
static napi_value host_of(napi_env env, napi_callback_info info) {
  napi_value values[2];
  size_t given = 2;
  int type = -1;
  int32_t index = 0;
  void *data = NULL;
  size_t length = 0;
  char text[INET6_ADDRSTRLEN + 1 + IF_NAMESIZE];
  napi_value result = NULL;
  if (napi_get_cb_info(env, info, &given, values, NULL, NULL) != 0 || given < 2 ||
      napi_get_typedarray_info(env, values[0], &type, &length, &data, NULL, NULL) != 0 || type != typed_array_uint32 ||
      napi_get_value_int32(env, values[1], &index) != 0 || index < 0 ||
      (size_t)index >= length / words_per_datagram) {
    napi_throw_type_error(env, NULL, "expected (Uint32Array, index)");
    return NULL;
  }
  const uint32_t *words = (const uint32_t *)data + (size_t)index * words_per_datagram;
  uint32_t address[4];
  for (int i = 0; i < 4; i++) address[i] = htonl(words[word_address + i]);
  if (is_v4(words)) {
    inet_ntop(AF_INET, &address[3], text, INET6_ADDRSTRLEN);
  } else {
    char name[IF_NAMESIZE];
    inet_ntop(AF_INET6, address, text, INET6_ADDRSTRLEN);
    if (words[word_scope] != 0 && if_indextoname(words[word_scope], name) != NULL) {
      strcat(text, "%");
      strcat(text, name);
    }
  }
  napi_create_string_utf8(env, text, strlen(text), &result);
  return result;
}

/*
 * receive(fd, arena, words, 0, locals?): what waits in the socket, at once and without waiting. The arena is divided evenly;
 * what is longer than its share arrives with length 0xffffffff and no octets. Returns how many; 0 = none; -errno = failed.
 */
static napi_value receive(napi_env env, napi_callback_info info) {
  arguments given;
  struct mmsghdr headers[batch_max];
  struct iovec places[batch_max];
  struct sockaddr_storage from[batch_max];
  control controls[batch_max];
  if (!read_arguments(env, info, &given)) return NULL;
  size_t share = given.arena_bytes / given.datagrams_max;
  memset(headers, 0, sizeof headers);
  for (size_t i = 0; i < given.datagrams_max; i++) {
    places[i].iov_base = given.arena + i * share;
    places[i].iov_len = share;
    headers[i].msg_hdr.msg_iov = &places[i];
    headers[i].msg_hdr.msg_iovlen = 1;
    headers[i].msg_hdr.msg_name = &from[i];
    headers[i].msg_hdr.msg_namelen = sizeof from[i];
    if (given.locals == NULL) continue;
    headers[i].msg_hdr.msg_control = &controls[i];
    headers[i].msg_hdr.msg_controllen = sizeof controls[i];
  }
  int count;
  do count = recvmmsg(given.fd, headers, (unsigned)given.datagrams_max, MSG_DONTWAIT, NULL);
  while (count < 0 && errno == EINTR);
  if (count < 0) return number(env, errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno);
  for (int i = 0; i < count; i++) {
    uint32_t *words = given.words + (size_t)i * words_per_datagram;
    bool is_whole = (headers[i].msg_hdr.msg_flags & MSG_TRUNC) == 0;
    words[word_offset] = (uint32_t)((size_t)i * share);
    words[word_length] = is_whole ? headers[i].msg_len : UINT32_MAX;
    store_address(&from[i], words);
    if (given.locals != NULL) store_local(&headers[i].msg_hdr, given.locals + (size_t)i * words_per_local);
  }
  return number(env, count);
}

/*
 * send(fd, arena, words, count, locals?): the first `count` datagrams. Returns how many are dealt with: the rest found no room
 * in the socket's buffer. One that the kernel refuses is dealt with too; its length becomes 0xffffffff. One that it refuses
 * to send from that address, which this host may have lost, leaves from another.
 */
static napi_value send_all(napi_env env, napi_callback_info info) {
  arguments given;
  struct mmsghdr headers[batch_max];
  struct iovec places[batch_max];
  struct sockaddr_storage to[batch_max];
  control controls[batch_max];
  if (!read_arguments(env, info, &given)) return NULL;
  memset(headers, 0, sizeof headers);
  for (int i = 0; i < given.count; i++) {
    const uint32_t *words = given.words + (size_t)i * words_per_datagram;
    size_t offset = words[word_offset];
    size_t length = words[word_length];
    if (offset > given.arena_bytes || length > given.arena_bytes - offset) {
      napi_throw_type_error(env, NULL, "a datagram lies outside the arena");
      return NULL;
    }
    places[i].iov_base = given.arena + offset;
    places[i].iov_len = length;
    headers[i].msg_hdr.msg_iov = &places[i];
    headers[i].msg_hdr.msg_iovlen = 1;
    headers[i].msg_hdr.msg_name = &to[i];
    headers[i].msg_hdr.msg_namelen = load_address(&to[i], words);
    if (given.locals != NULL)
      load_local(&headers[i].msg_hdr, &controls[i], given.locals + (size_t)i * words_per_local);
  }
  int done = 0;
  while (done < given.count) {
    int sent = sendmmsg(given.fd, headers + done, (unsigned)(given.count - done), MSG_DONTWAIT);
    if (sent > 0) {
      done += sent;
      continue;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) break;
    if (headers[done].msg_hdr.msg_controllen != 0) {
      headers[done].msg_hdr.msg_control = NULL;
      headers[done].msg_hdr.msg_controllen = 0;
      continue;
    }
    given.words[(size_t)done * words_per_datagram + word_length] = UINT32_MAX;
    done++;
  }
  return number(env, done);
}

/* duplicate(fd): a second descriptor of the same socket, for whoever closes it; -errno. */
static napi_value duplicate(napi_env env, napi_callback_info info) {
  napi_value value;
  size_t given = 1;
  int32_t fd = -1;
  if (napi_get_cb_info(env, info, &given, &value, NULL, NULL) != 0 || given < 1 ||
      napi_get_value_int32(env, value, &fd) != 0) {
    napi_throw_type_error(env, NULL, "expected a descriptor");
    return NULL;
  }
  int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  return number(env, copy < 0 ? -errno : copy);
}

/* hops(fd, count): how far multicast goes. 0, or -errno. */
static napi_value multicast_hops(napi_env env, napi_callback_info info) {
  napi_value values[2];
  size_t given = 2;
  int32_t fd = -1;
  int32_t count = 0;
  struct sockaddr_storage own;
  socklen_t length = sizeof own;
  if (napi_get_cb_info(env, info, &given, values, NULL, NULL) != 0 || given < 2 ||
      napi_get_value_int32(env, values[0], &fd) != 0 || napi_get_value_int32(env, values[1], &count) != 0) {
    napi_throw_type_error(env, NULL, "expected (fd, number)");
    return NULL;
  }
  int value = count;
  int failed = getsockname(fd, (struct sockaddr *)&own, &length);
  if (failed == 0)
    failed = own.ss_family == AF_INET6 ? setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &value, sizeof value)
                                       : setsockopt(fd, IPPROTO_IP, IP_MULTICAST_TTL, &value, sizeof value);
  return number(env, failed != 0 ? -errno : 0);
}

/*
 * thin(fd, first, second): of DTLS ClientHellos without a cookie, and of those with one, the kernel lets so many of 65,536 in, by
 * chance, and drops the others before they cost more; all else comes as before. 65536, 65536: all come. 0, or -errno.
 */
static napi_value thin_hellos(napi_env env, napi_callback_info info) {
  /* A record's head is 13 octets, and a handshake message's 12; behind them version, random, session id and cookie. [RFC 6347 4.1,
   * 4.2.2, 4.2.1] What is too short for a look is no hello; classic BPF drops it. The filter sees the head of UDP first. */
  enum { udp_head = 8, content_type = udp_head, epoch = udp_head + 3, message = udp_head + 13, session_id = message + 12 + 34, cookie = session_id + 1 };
  enum { handshake = 22, client_hello = 1 };
  napi_value values[3];
  size_t given = 3;
  int32_t fd = -1;
  int32_t first = 0;
  int32_t second = 0;
  if (napi_get_cb_info(env, info, &given, values, NULL, NULL) != 0 || given < 3 ||
      napi_get_value_int32(env, values[0], &fd) != 0 || napi_get_value_int32(env, values[1], &first) != 0 ||
      napi_get_value_int32(env, values[2], &second) != 0 || first < 0 || first > 65536 || second < 0 || second > 65536) {
    napi_throw_type_error(env, NULL, "expected (fd, 0 to 65536, 0 to 65536)");
    return NULL;
  }
  if (first == 65536 && second == 65536) {
    const int nothing = 0;
    int failed = setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &nothing, sizeof nothing);
    return number(env, failed != 0 && errno != ENOENT ? -errno : 0);
  }
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, content_type),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, handshake, 0, 12),
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, epoch),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 10),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, message),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, client_hello, 0, 8),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, session_id),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 4), /* with a session id: as one without a cookie */
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, cookie),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 2, 0),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_RANDOM)),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0, 3, 2), /* second */
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_RANDOM)),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0, 1, 0), /* first */
      BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  enum { second_at = 11, first_at = 13, accept_at = 14 };
  /* Of all 2^32 numbers, those below. All of them is no number: then the comparison is passed over. */
  if (second == 65536) code[second_at] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JA, accept_at - second_at - 1, 0, 0);
  else code[second_at].k = (uint32_t)second << 16;
  if (first == 65536) code[first_at] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JA, 0, 0, 0);
  else code[first_at].k = (uint32_t)first << 16;
  const struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
  int failed = setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
  return number(env, failed != 0 ? -errno : 0);
}

/* wake(watch, also_when_writable): whether room to write is waited for too. */
static napi_value wake_when(napi_env env, napi_callback_info info) {
  napi_value values[2];
  size_t given = 2;
  bool writable = false;
  watch *watched = NULL;
  if (napi_get_cb_info(env, info, &given, values, NULL, NULL) != 0 || given < 2 ||
      (watched = watch_argument(env, values[0])) == NULL || napi_get_value_bool(env, values[1], &writable) != 0) {
    napi_throw_type_error(env, NULL, "expected (watch, boolean)");
    return NULL;
  }
  if (watched->poll == NULL) return number(env, -EBADF);
  watched->when_writable = writable;
  return number(env, apply(watched));
}

/* Node looks for this name. */
__attribute__((visibility("default"))) napi_value napi_register_module_v1(napi_env env, napi_value exports) {
  static const struct {
    const char *name;
    napi_callback call;
  } functions[] = {{"open", open_socket}, {"locals", tell_locals}, {"duplicate", duplicate}, {"host", host_of}, {"address", address_of}, {"receive", receive},
                   {"send", send_all}, {"watch", watch_socket}, {"wake", wake_when}, {"unwatch", unwatch}, {"hops", multicast_hops}, {"thin", thin_hellos}};
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    napi_value function;
    if (napi_create_function(env, functions[i].name, strlen(functions[i].name), functions[i].call, NULL, &function) != 0)
      return exports;
    napi_set_named_property(env, exports, functions[i].name, function);
  }
  return exports;
}

__attribute__((visibility("default"))) int32_t node_api_module_get_api_version_v1(void) { return 8; }
