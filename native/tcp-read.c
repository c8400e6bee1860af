/*
 * What has come over many TCP connections is read in one go, and JavaScript is called once for all of it. [epoll(7)]
 *
 * An optional part: `scripts/build-native.mjs` compiles it where there is a C compiler. Where it is missing, Node reads each
 * connection by itself, and calls JavaScript for each.
 *
 * The caller numbers its connections, and takes one out before it closes the descriptor. What is read goes to the caller's
 * memory. How the event loop waits is in watch.h: the descriptor of epoll can be waited for like a socket, and `unwatch` closes
 * it.
 *
 * Built without Node's headers: the declarations here and in node-api.h are those of Node-API 8.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "node-api.h"
#include "watch.h"

extern napi_status napi_get_value_uint32(napi_env, napi_value, uint32_t *);

/* Of each read, in 32-bit words: the connection's number, where its octets begin in the arena, how many there are: 0 at the
 * end of the stream, or -errno. */
enum { word_connection, word_offset, word_length, words_per_read };
/* Connections that are read in one call. */
enum { reads_max = 256 };
/* No connection gets more octets of a call than this. */
enum { share_max = 65536 };

/* open(): the descriptor of an empty set of connections, or -errno. */
static napi_value open_set(napi_env env, napi_callback_info info) {
  (void)info;
  int set = epoll_create1(EPOLL_CLOEXEC);
  return number(env, set < 0 ? -errno : set);
}

/* add(set, fd, connection): from now on it is read here. 0, or -errno. */
static napi_value add(napi_env env, napi_callback_info info) {
  napi_value values[3];
  size_t given = 3;
  int32_t set = -1;
  int32_t fd = -1;
  uint32_t connection = 0;
  if (napi_get_cb_info(env, info, &given, values, NULL, NULL) != 0 || given < 3 ||
      napi_get_value_int32(env, values[0], &set) != 0 || napi_get_value_int32(env, values[1], &fd) != 0 || fd < 0 ||
      napi_get_value_uint32(env, values[2], &connection) != 0) {
    napi_throw_type_error(env, NULL, "expected (set, fd, number)");
    return NULL;
  }
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)connection << 32 | (uint32_t)fd};
  return number(env, epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) != 0 ? -errno : 0);
}

/* remove(set, fd): it is read here no more. 0, or -errno. */
static napi_value remove_call(napi_env env, napi_callback_info info) {
  napi_value values[2];
  size_t given = 2;
  int32_t set = -1;
  int32_t fd = -1;
  if (napi_get_cb_info(env, info, &given, values, NULL, NULL) != 0 || given < 2 ||
      napi_get_value_int32(env, values[0], &set) != 0 || napi_get_value_int32(env, values[1], &fd) != 0) {
    napi_throw_type_error(env, NULL, "expected (set, fd)");
    return NULL;
  }
  return number(env, epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL) != 0 ? -errno : 0);
}

/*
 * read(set, arena: Uint8Array, words: Uint32Array): reads once from each connection that has something, without waiting. The
 * arena is divided among them, so that none gets nothing. Returns how many reads there are in `words`.
 */
static napi_value read_call(napi_env env, napi_callback_info info) {
  napi_value values[3];
  size_t given = 3;
  int32_t set = -1;
  int arena_type = -1;
  int words_type = -1;
  uint8_t *arena = NULL;
  size_t arena_bytes = 0;
  void *data = NULL;
  size_t words_count = 0;
  if (napi_get_cb_info(env, info, &given, values, NULL, NULL) != 0 || given < 3 ||
      napi_get_value_int32(env, values[0], &set) != 0 ||
      napi_get_typedarray_info(env, values[1], &arena_type, &arena_bytes, (void **)&arena, NULL, NULL) != 0 ||
      arena_type != typed_array_uint8 ||
      napi_get_typedarray_info(env, values[2], &words_type, &words_count, &data, NULL, NULL) != 0 ||
      words_type != typed_array_uint32) {
    napi_throw_type_error(env, NULL, "expected (set, Uint8Array, Uint32Array)");
    return NULL;
  }
  struct epoll_event ready[reads_max];
  size_t most = words_count / words_per_read;
  if (most > reads_max) most = reads_max;
  if (most > arena_bytes) most = arena_bytes;
  if (most == 0) return number(env, 0);
  int found = epoll_wait(set, ready, (int)most, 0);
  if (found < 0) return number(env, errno == EINTR ? 0 : -errno);
  size_t share = found == 0 ? 0 : arena_bytes / (size_t)found;
  if (share > share_max) share = share_max;
  uint32_t *words = data;
  int32_t count = 0;
  size_t offset = 0;
  for (int i = 0; i < found; i++) {
    ssize_t length = recv((int)(uint32_t)ready[i].data.u64, arena + offset, share, MSG_DONTWAIT);
    if (length < 0 && (errno == EAGAIN || errno == EINTR)) continue; /* it is reported again */
    words[word_connection] = (uint32_t)(ready[i].data.u64 >> 32);
    words[word_offset] = (uint32_t)offset;
    words[word_length] = (uint32_t)(length < 0 ? -errno : (int32_t)length);
    words += words_per_read;
    count++;
    if (length > 0) offset += (size_t)length;
  }
  return number(env, count);
}

/*
 * acknowledge(fd): the kernel acknowledges now what has come over this connection, if it was about to wait for octets that
 * carry the acknowledgement. Other descriptors: nothing happens. 0, or -errno. [tcp(7), TCP_QUICKACK]
 */
static napi_value acknowledge(napi_env env, napi_callback_info info) {
  napi_value value;
  size_t given = 1;
  int32_t fd = -1;
  if (napi_get_cb_info(env, info, &given, &value, NULL, NULL) != 0 || given < 1 || napi_get_value_int32(env, value, &fd) != 0) {
    napi_throw_type_error(env, NULL, "expected a descriptor");
    return NULL;
  }
  int on = 1;
  return number(env, setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on) != 0 ? -errno : 0);
}

/* Node looks for this name. */
__attribute__((visibility("default"))) napi_value napi_register_module_v1(napi_env env, napi_value exports) {
  static const struct {
    const char *name;
    napi_callback call;
  } functions[] = {{"open", open_set}, {"add", add}, {"remove", remove_call}, {"read", read_call},
                   {"acknowledge", acknowledge}, {"watch", watch_socket}, {"unwatch", unwatch}};
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    napi_value function;
    if (napi_create_function(env, functions[i].name, strlen(functions[i].name), functions[i].call, NULL, &function) != 0)
      return exports;
    napi_set_named_property(env, exports, functions[i].name, function);
  }
  return exports;
}

__attribute__((visibility("default"))) int32_t node_api_module_get_api_version_v1(void) { return 8; }
