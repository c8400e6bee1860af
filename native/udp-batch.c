/*
 * Many datagrams per system call: recvmmsg and sendmmsg for a UDP socket that Node has opened. [recvmmsg(2), sendmmsg(2)]
 *
 * An optional part: `scripts/build-native.mjs` compiles it where there is a C compiler, and where there is none the
 * gateway takes node:dgram alone. The socket belongs to Node once it is open: its event loop says when there is something
 * to read, and it closes it. All memory is the caller's, so nothing is allocated and nothing can leak.
 *
 * Built without Node's headers: the declarations below are those of Node-API 8, whose binary interface is stable.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct napi_env_ *napi_env;
typedef struct napi_value_ *napi_value;
typedef struct napi_callback_info_ *napi_callback_info;
typedef napi_value (*napi_callback)(napi_env, napi_callback_info);
typedef int napi_status; /* 0 = ok */

extern napi_status napi_get_cb_info(napi_env, napi_callback_info, size_t *, napi_value *, napi_value *, void **);
extern napi_status napi_get_value_int32(napi_env, napi_value, int32_t *);
extern napi_status napi_get_value_string_utf8(napi_env, napi_value, char *, size_t, size_t *);
extern napi_status napi_create_string_utf8(napi_env, const char *, size_t, napi_value *);
extern napi_status napi_get_typedarray_info(napi_env, napi_value, int *, size_t *, void **, napi_value *, size_t *);
extern napi_status napi_create_int32(napi_env, int32_t, napi_value *);
extern napi_status napi_create_function(napi_env, const char *, size_t, napi_callback, void *, napi_value *);
extern napi_status napi_set_named_property(napi_env, napi_value, const char *, napi_value);
extern napi_status napi_throw_type_error(napi_env, const char *, const char *);

enum { typed_array_uint8 = 1, typed_array_uint32 = 6 };

/* Of each datagram, in 32-bit words: where its octets begin in the arena, how many there are, port, IPv6 scope, and the
 * address, an IPv4 one mapped into IPv6 [RFC 4291 2.5.5.2], each word in the host's order. */
enum { word_offset, word_length, word_port, word_scope, word_address, words_per_datagram = word_address + 4 };
enum { batch_max = 64 };

typedef struct {
  int32_t fd;
  int32_t count; /* only with `send` */
  uint8_t *arena;
  size_t arena_bytes;
  uint32_t *words;
  size_t datagrams_max;
} arguments;

/* (fd, arena: Uint8Array, words: Uint32Array, count). False: an exception is pending. */
static bool read_arguments(napi_env env, napi_callback_info info, arguments *out) {
  napi_value values[4];
  size_t given = 4;
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
  return true;
wrong:
  napi_throw_type_error(env, NULL, "expected (fd, Uint8Array, Uint32Array, count)");
  return false;
}

static napi_value number(napi_env env, int32_t value) {
  napi_value result = NULL;
  napi_create_int32(env, value, &result);
  return result;
}

static void store_address(const struct sockaddr_storage *from, uint32_t *words) {
  if (from->ss_family == AF_INET6) {
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)from;
    uint32_t address[4];
    memcpy(address, &v6->sin6_addr, sizeof address);
    for (int i = 0; i < 4; i++) words[word_address + i] = ntohl(address[i]);
    words[word_port] = ntohs(v6->sin6_port);
    words[word_scope] = v6->sin6_scope_id;
    return;
  }
  const struct sockaddr_in *v4 = (const struct sockaddr_in *)from;
  words[word_address] = 0;
  words[word_address + 1] = 0;
  words[word_address + 2] = 0xffff;
  words[word_address + 3] = ntohl(v4->sin_addr.s_addr);
  words[word_port] = ntohs(v4->sin_port);
  words[word_scope] = 0;
}

static bool is_v4(const uint32_t *words) {
  return words[word_address] == 0 && words[word_address + 1] == 0 && words[word_address + 2] == 0xffff;
}

static socklen_t load_address(struct sockaddr_storage *to, const uint32_t *words) {
  memset(to, 0, sizeof *to);
  if (!is_v4(words)) {
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)to;
    uint32_t address[4];
    for (int i = 0; i < 4; i++) address[i] = htonl(words[word_address + i]);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons((uint16_t)words[word_port]);
    v6->sin6_scope_id = words[word_scope];
    memcpy(&v6->sin6_addr, address, sizeof address);
    return sizeof *v6;
  }
  struct sockaddr_in *v4 = (struct sockaddr_in *)to;
  v4->sin_family = AF_INET;
  v4->sin_port = htons((uint16_t)words[word_port]);
  v4->sin_addr.s_addr = htonl(words[word_address + 3]);
  return sizeof *v4;
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
 * receive(fd, arena, words, 0): what waits in the socket, at once and without waiting. The arena is divided evenly; what is
 * longer than its share arrives with length 0xffffffff and no octets. Returns how many; 0 = none; -errno = failed.
 */
static napi_value receive(napi_env env, napi_callback_info info) {
  arguments given;
  struct mmsghdr headers[batch_max];
  struct iovec places[batch_max];
  struct sockaddr_storage from[batch_max];
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
  }
  return number(env, count);
}

/*
 * send(fd, arena, words, count): the first `count` datagrams. Returns how many are dealt with: the rest found no room in the
 * socket's buffer. One that the kernel refuses is dealt with too; its length becomes 0xffffffff.
 */
static napi_value send_all(napi_env env, napi_callback_info info) {
  arguments given;
  struct mmsghdr headers[batch_max];
  struct iovec places[batch_max];
  struct sockaddr_storage to[batch_max];
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
    given.words[(size_t)done * words_per_datagram + word_length] = UINT32_MAX;
    done++;
  }
  return number(env, done);
}

/* Node looks for this name. */
__attribute__((visibility("default"))) napi_value napi_register_module_v1(napi_env env, napi_value exports) {
  static const struct {
    const char *name;
    napi_callback call;
  } functions[] = {{"open", open_socket}, {"host", host_of}, {"address", address_of}, {"receive", receive}, {"send", send_all}};
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    napi_value function;
    if (napi_create_function(env, functions[i].name, strlen(functions[i].name), functions[i].call, NULL, &function) != 0)
      return exports;
    napi_set_named_property(env, exports, functions[i].name, function);
  }
  return exports;
}

__attribute__((visibility("default"))) int32_t node_api_module_get_api_version_v1(void) { return 8; }
