/*
 * Waits for a descriptor, and calls JavaScript. The declarations of libuv 1's uv_poll_t and uv_timer_t, which Node exports, are
 * below: their binary interface is stable, and their sizes are asked for when the program runs.
 */
#pragma once
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "node-api.h"

typedef struct napi_ref_ *napi_ref;
typedef struct napi_handle_scope_ *napi_handle_scope;
typedef struct uv_loop_s uv_loop_t;
typedef struct uv_handle_s uv_handle_t; /* of which a uv_poll_t is one */

extern napi_status napi_create_int32(napi_env, int32_t, napi_value *);
extern napi_status napi_typeof(napi_env, napi_value, int *);
extern napi_status napi_create_external(napi_env, void *, void (*)(napi_env, void *, void *), void *, napi_value *);
extern napi_status napi_get_value_external(napi_env, napi_value, void **);
extern napi_status napi_get_global(napi_env, napi_value *);
extern napi_status napi_create_reference(napi_env, napi_value, uint32_t, napi_ref *);
extern napi_status napi_delete_reference(napi_env, napi_ref);
extern napi_status napi_get_reference_value(napi_env, napi_ref, napi_value *);
extern napi_status napi_open_handle_scope(napi_env, napi_handle_scope *);
extern napi_status napi_close_handle_scope(napi_env, napi_handle_scope);
extern napi_status napi_make_callback(napi_env, void *, napi_value, napi_value, size_t, const napi_value *, napi_value *);
extern napi_status napi_get_and_clear_last_exception(napi_env, napi_value *);
extern napi_status napi_fatal_exception(napi_env, napi_value);
extern napi_status napi_add_env_cleanup_hook(napi_env, void (*)(void *), void *);
extern napi_status napi_remove_env_cleanup_hook(napi_env, void (*)(void *), void *);
extern napi_status napi_get_uv_event_loop(napi_env, uv_loop_t **);

extern size_t uv_handle_size(int);
extern int uv_poll_init(uv_loop_t *, uv_handle_t *, int);
extern int uv_poll_start(uv_handle_t *, int, void (*)(uv_handle_t *, int, int));
extern int uv_poll_stop(uv_handle_t *);
extern int uv_timer_init(uv_loop_t *, uv_handle_t *);
extern int uv_timer_start(uv_handle_t *, void (*)(uv_handle_t *), uint64_t, uint64_t);
extern int uv_timer_stop(uv_handle_t *);
extern uint64_t uv_now(const uv_loop_t *);
extern uv_loop_t *uv_handle_get_loop(const uv_handle_t *);
extern void uv_close(uv_handle_t *, void (*)(uv_handle_t *));
extern void *uv_handle_get_data(const uv_handle_t *);
extern void uv_handle_set_data(uv_handle_t *, void *);
enum { uv_poll_type = 8, uv_timer_type = 13, uv_readable = 1, uv_writable = 2 };

enum { type_external = 8, type_function = 7, type_undefined = 0 };

static napi_value number(napi_env env, int32_t value) {
  napi_value result = NULL;
  napi_create_int32(env, value, &result);
  return result;
}

typedef struct {
  napi_env env;
  napi_ref on_event;
  uv_handle_t *poll;  /* NULL: not watched any more */
  uv_handle_t *timer; /* NULL: nothing is gathered */
  int fd;
  bool closed;
  bool unreachable; /* from JavaScript */
  bool when_writable;
  /* While there is much to read it is read once in `gather_ms`, by the timer. */
  uint64_t gather_ms;
  uint64_t last_ms;
  bool gathering;
  unsigned streak; /* wake-ups that came soon one after the other, or ticks that brought nothing */
} watch;
enum { streak_max = 8 };

static void on_closed(uv_handle_t *poll) {
  watch *watched = uv_handle_get_data(poll);
  free(poll);
  watched->closed = true;
  if (watched->unreachable) free(watched);
}

static void on_timer_closed(uv_handle_t *timer) { free(timer); }

/* Also called when the environment ends. */
static void stop(void *data) {
  watch *watched = data;
  uv_handle_t *poll = watched->poll;
  if (poll == NULL) return;
  watched->poll = NULL;
  if (watched->timer != NULL) uv_close(watched->timer, on_timer_closed);
  uv_close(poll, on_closed);
  close(watched->fd); /* after uv_close it may be: the event loop has forgotten it, and its port is free at once */
}

/* JavaScript gets one number: 1 readable, 2 writable, 3 both, -errno. It answers how many datagrams it read, -1 = there are more. */
static int32_t tell(watch *watched, int what_it_is) {
  napi_env env = watched->env;
  napi_handle_scope scope;
  napi_value call;
  napi_value global;
  napi_value result;
  int32_t count = 0;
  if (napi_open_handle_scope(env, &scope) != 0) return 0;
  napi_value what = number(env, what_it_is);
  if (napi_get_reference_value(env, watched->on_event, &call) == 0 && napi_get_global(env, &global) == 0) {
    if (napi_make_callback(env, NULL, global, call, 1, &what, &result) != 0) {
      napi_value thrown; /* as if a callback of Node's own had thrown it */
      if (napi_get_and_clear_last_exception(env, &thrown) == 0) napi_fatal_exception(env, thrown);
    } else {
      napi_get_value_int32(env, result, &count);
    }
  }
  napi_close_handle_scope(env, scope);
  return count;
}

static void on_poll(uv_handle_t *poll, int status, int events);
static void on_timer(uv_handle_t *timer);

static int apply(watch *watched) {
  int events = (watched->gathering ? 0 : uv_readable) | (watched->when_writable ? uv_writable : 0);
  return events == 0 ? uv_poll_stop(watched->poll) : uv_poll_start(watched->poll, events, on_poll);
}

static void on_poll(uv_handle_t *poll, int status, int events) {
  watch *watched = uv_handle_get_data(poll);
  tell(watched, status < 0 ? status : events);
  if (watched->timer == NULL || watched->poll == NULL || (events & uv_readable) == 0) return;
  uint64_t now = uv_now(uv_handle_get_loop(poll));
  watched->streak = now - watched->last_ms <= watched->gather_ms ? watched->streak + 1 : 0;
  watched->last_ms = now;
  if (watched->streak < streak_max) return;
  watched->gathering = true;
  watched->streak = 0;
  uv_timer_start(watched->timer, on_timer, watched->gather_ms, watched->gather_ms);
  apply(watched);
}

static void on_timer(uv_handle_t *timer) {
  watch *watched = uv_handle_get_data(timer);
  int32_t count = tell(watched, uv_readable);
  if (watched->poll == NULL) return;
  watched->streak = count > 0 ? 0 : watched->streak + 1;
  if (count >= 0 && watched->streak < streak_max) return;
  watched->gathering = false;
  watched->streak = 0;
  uv_timer_stop(timer);
  apply(watched);
}

/* JavaScript has let go of it. */
static void release(napi_env env, void *data, void *hint) {
  watch *watched = data;
  (void)env, (void)hint;
  watched->unreachable = true;
  if (watched->closed) free(watched);
}

static watch *watch_argument(napi_env env, napi_value value) {
  int type = -1;
  void *data = NULL;
  if (napi_typeof(env, value, &type) != 0 || type != type_external || napi_get_value_external(env, value, &data) != 0)
    return NULL;
  return data;
}

/*
 * watch(fd, call, gather): calls with 1 when there is something to read, until `unwatch`, which also closes the descriptor.
 * With `gather` above 0, while datagrams come one after the other, once in so many milliseconds. Keeps the event loop alive
 * as a socket of Node's does. Returns the watch, or -errno.
 */
static napi_value watch_socket(napi_env env, napi_callback_info info) {
  napi_value values[3];
  size_t given = 3;
  int32_t fd = -1;
  int32_t gather = 0;
  int type = -1;
  uv_loop_t *loop = NULL;
  napi_value result = NULL;
  if (napi_get_cb_info(env, info, &given, values, NULL, NULL) != 0 || given < 3 ||
      napi_get_value_int32(env, values[0], &fd) != 0 || fd < 0 || napi_typeof(env, values[1], &type) != 0 ||
      type != type_function || napi_get_value_int32(env, values[2], &gather) != 0 || gather < 0) {
    napi_throw_type_error(env, NULL, "expected (fd, function, milliseconds)");
    return NULL;
  }
  watch *watched = calloc(1, sizeof *watched);
  uv_handle_t *poll = calloc(1, uv_handle_size(uv_poll_type));
  int failed = watched == NULL || poll == NULL || napi_get_uv_event_loop(env, &loop) != 0 ? -ENOMEM : uv_poll_init(loop, poll, fd);
  if (failed != 0) {
    free(watched);
    free(poll);
    return number(env, failed);
  }
  *watched = (watch){.env = env, .poll = poll, .fd = fd};
  uv_handle_set_data(poll, watched);
  if (gather > 0 && (watched->timer = calloc(1, uv_handle_size(uv_timer_type))) != NULL) {
    uv_timer_init(loop, watched->timer);
    uv_handle_set_data(watched->timer, watched);
    watched->gather_ms = (uint64_t)gather;
  }
  if (napi_create_external(env, watched, release, NULL, &result) != 0 ||
      napi_create_reference(env, values[1], 1, &watched->on_event) != 0 ||
      napi_add_env_cleanup_hook(env, stop, watched) != 0 || apply(watched) != 0)
    stop(watched);
  return result;
}

/* unwatch(watch): no call comes afterwards; the descriptor is closed. Again: nothing happens. */
static napi_value unwatch(napi_env env, napi_callback_info info) {
  napi_value value;
  size_t given = 1;
  watch *watched = NULL;
  if (napi_get_cb_info(env, info, &given, &value, NULL, NULL) != 0 || given < 1 ||
      (watched = watch_argument(env, value)) == NULL) {
    napi_throw_type_error(env, NULL, "expected a watch");
    return NULL;
  }
  if (watched->poll == NULL) return NULL;
  napi_remove_env_cleanup_hook(env, stop, watched);
  napi_delete_reference(env, watched->on_event);
  stop(watched);
  return NULL;
}
