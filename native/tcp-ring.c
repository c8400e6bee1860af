/*
 * What is to leave over many TCP connections leaves with one system call. [io_uring(7)]
 *
 * An optional part: `scripts/build-native.mjs` compiles it where there is a C compiler. Where it is missing, or the kernel
 * has no io_uring or forbids it, the gateway writes to each connection by itself, as Node does.
 *
 * A ring knows connections by a slot and the generation of what is in it. Whoever closes a descriptor takes it out first, so
 * that its number, which the next connection may get, is written to by nobody who means the old one. Every send is one that
 * does not wait (MSG_DONTWAIT), and a call returns when all of its sends are done: the caller's memory is not used afterwards.
 *
 * Built without Node's headers: the declarations here and in node-api.h are those of Node-API 8. Of the kernel's there is
 * linux/io_uring.h; what a later version of it added is declared here.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/io_uring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "node-api.h"

extern napi_status napi_typeof(napi_env, napi_value, int *);
extern napi_status napi_get_value_uint32(napi_env, napi_value, uint32_t *);
extern napi_status napi_get_value_external(napi_env, napi_value, void **);
extern napi_status napi_create_int32(napi_env, int32_t, napi_value *);
extern napi_status napi_create_double(napi_env, double, napi_value *);
extern napi_status napi_create_external(napi_env, void *, void (*)(napi_env, void *, void *), void *, napi_value *);
enum { type_external = 8 };

/* The same numbers on every architecture that Node runs on. */
#ifndef __NR_io_uring_setup
#define __NR_io_uring_setup 425
#define __NR_io_uring_enter 426
#endif
#ifndef IORING_SETUP_COOP_TASKRUN
#define IORING_SETUP_COOP_TASKRUN (1U << 8)
#endif
#ifndef IORING_SETUP_SINGLE_ISSUER
#define IORING_SETUP_SINGLE_ISSUER (1U << 12)
#endif

/* Of each send, in 32-bit words: the slot and its generation, where the octets begin in the arena and how many there are,
 * and, afterwards, how many were taken, or -errno. */
enum { word_slot, word_generation, word_offset, word_length, word_taken, words_per_send };
/* In place of how many were taken: it is not known what became of them. */
#define NOT_KNOWN INT32_MIN

typedef struct {
  int fd; /* -1: nothing is here */
  uint32_t generation;
  uint32_t next_free;
} slot;
static const uint32_t no_slot = UINT32_MAX;
/* A slot and a generation make one number of JavaScript, which is exact up to 2^53. */
enum { slot_bits = 20, slots_max = 1 << slot_bits };

typedef struct {
  int fd; /* -1: closed */
  void *rings;
  size_t rings_bytes;
  struct io_uring_sqe *entries;
  size_t entries_bytes;
  unsigned entries_count;
  uint32_t *submit_head, *submit_tail, submit_mask;
  uint32_t *complete_head, *complete_tail, complete_mask;
  struct io_uring_cqe *completions;
  slot *slots;
  uint32_t slots_count;
  uint32_t first_free;
} ring;

static napi_value number(napi_env env, int32_t value) {
  napi_value result = NULL;
  napi_create_int32(env, value, &result);
  return result;
}

static void close_ring(ring *of) {
  if (of->fd < 0) return;
  munmap(of->entries, of->entries_bytes);
  munmap(of->rings, of->rings_bytes);
  close(of->fd);
  of->fd = -1;
}

/* 0, or -errno. */
static int open_ring(ring *of, unsigned entries) {
  struct io_uring_params params = {.flags = IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SINGLE_ISSUER};
  int fd = (int)syscall(__NR_io_uring_setup, entries, &params);
  if (fd < 0 && errno == EINVAL) { /* a kernel before 6.0 */
    params = (struct io_uring_params){0};
    fd = (int)syscall(__NR_io_uring_setup, entries, &params);
  }
  if (fd < 0) return -errno;
  if ((params.features & IORING_FEAT_SINGLE_MMAP) == 0) {
    close(fd);
    return -EOPNOTSUPP;
  }
  size_t submit_bytes = params.sq_off.array + params.sq_entries * sizeof(uint32_t);
  size_t complete_bytes = params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe);
  of->rings_bytes = submit_bytes > complete_bytes ? submit_bytes : complete_bytes;
  of->entries_bytes = params.sq_entries * sizeof(struct io_uring_sqe);
  of->rings = mmap(NULL, of->rings_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, IORING_OFF_SQ_RING);
  if (of->rings == MAP_FAILED) {
    int why = errno;
    close(fd);
    return -why;
  }
  of->entries = mmap(NULL, of->entries_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, IORING_OFF_SQES);
  if (of->entries == MAP_FAILED) {
    int why = errno;
    munmap(of->rings, of->rings_bytes);
    close(fd);
    return -why;
  }
  char *base = of->rings;
  of->fd = fd;
  of->entries_count = params.sq_entries;
  of->submit_head = (uint32_t *)(base + params.sq_off.head);
  of->submit_tail = (uint32_t *)(base + params.sq_off.tail);
  of->submit_mask = *(uint32_t *)(base + params.sq_off.ring_mask);
  of->complete_head = (uint32_t *)(base + params.cq_off.head);
  of->complete_tail = (uint32_t *)(base + params.cq_off.tail);
  of->complete_mask = *(uint32_t *)(base + params.cq_off.ring_mask);
  of->completions = (struct io_uring_cqe *)(base + params.cq_off.cqes);
  uint32_t *order = (uint32_t *)(base + params.sq_off.array);
  for (uint32_t i = 0; i < params.sq_entries; i++) order[i] = i; /* the places are taken in their order */
  return 0;
}

static void prepare(ring *in, uint32_t tail, int fd, const uint8_t *octets, uint32_t length, uint64_t which) {
  struct io_uring_sqe *entry = &in->entries[tail & in->submit_mask];
  memset(entry, 0, sizeof *entry);
  entry->opcode = IORING_OP_SEND;
  entry->fd = fd;
  entry->addr = (uint64_t)(uintptr_t)octets;
  entry->len = length;
  entry->msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL;
  entry->user_data = which;
}

/* Takes what is complete: of each the result, at its `user_data`-th place. How many there were. */
static uint32_t reap(ring *in, uint32_t *words) {
  uint32_t head = *in->complete_head; /* nobody else moves it */
  uint32_t tail = __atomic_load_n(in->complete_tail, __ATOMIC_ACQUIRE);
  uint32_t count = tail - head;
  for (; head != tail; head++) {
    const struct io_uring_cqe *done = &in->completions[head & in->complete_mask];
    words[done->user_data * words_per_send + word_taken] = (uint32_t)done->res;
  }
  __atomic_store_n(in->complete_head, head, __ATOMIC_RELEASE);
  return count;
}

/*
 * Submits the `count` entries prepared from `first` on and waits until all are done; they do not wait themselves. False: the
 * ring is of no use any more. What the kernel had not taken is -EAGAIN then; of what is still NOT_KNOWN nothing is known.
 */
static bool submit(ring *in, uint32_t first, uint32_t count, uint32_t *words) {
  uint32_t submitted = 0;
  uint32_t completed = 0;
  __atomic_store_n(in->submit_tail, first + count, __ATOMIC_RELEASE);
  while (completed < count) {
    long taken = syscall(__NR_io_uring_enter, in->fd, count - submitted, count - completed, IORING_ENTER_GETEVENTS, NULL, 0);
    if (taken > 0) submitted += (uint32_t)taken;
    int why = taken < 0 ? errno : 0;
    completed += reap(in, words);
    if (why == 0 || why == EINTR || ((why == EAGAIN || why == EBUSY) && completed < submitted)) continue;
    for (uint32_t i = first + submitted; i != first + count; i++)
      words[in->entries[i & in->submit_mask].user_data * words_per_send + word_taken] = (uint32_t)-EAGAIN;
    return false;
  }
  return true;
}

/* Whether a send leaves in the call that submits it, as everything here takes for granted. 0, or -errno. */
static int try_out(ring *with) {
  int ends[2];
  uint32_t words[words_per_send] = {[word_taken] = (uint32_t)NOT_KNOWN};
  const uint8_t sent = 0x2a;
  uint8_t came = 0;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) return -errno;
  uint32_t tail = *with->submit_tail;
  prepare(with, tail, ends[0], &sent, 1, 0);
  bool done = submit(with, tail, 1, words);
  int32_t result = (int32_t)words[word_taken];
  if (!done || (result == 1 && (read(ends[1], &came, 1) != 1 || came != sent))) result = -EIO;
  close(ends[0]);
  close(ends[1]);
  return result == 1 ? 0 : result < 0 ? result : -EIO;
}

static void release(napi_env env, void *data, void *hint) {
  ring *of = data;
  (void)env, (void)hint;
  close_ring(of);
  free(of->slots);
  free(of);
}

/* open(sends): a ring for so many sends in a call; -errno: there is none here. */
static napi_value open_call(napi_env env, napi_callback_info info) {
  napi_value value;
  size_t given = 1;
  int32_t sends = 0;
  napi_value result = NULL;
  if (napi_get_cb_info(env, info, &given, &value, NULL, NULL) != 0 || given < 1 ||
      napi_get_value_int32(env, value, &sends) != 0 || sends < 1 || sends > 4096) {
    napi_throw_type_error(env, NULL, "expected a number of sends");
    return NULL;
  }
  ring *opened = calloc(1, sizeof *opened);
  if (opened == NULL) return number(env, -ENOMEM);
  opened->fd = -1;
  opened->first_free = no_slot;
  int failed = open_ring(opened, (unsigned)sends);
  if (failed == 0) failed = try_out(opened);
  if (failed == 0 && napi_create_external(env, opened, release, NULL, &result) == 0) return result;
  release(env, opened, NULL);
  return number(env, failed == 0 ? -ENOMEM : failed);
}

static ring *ring_argument(napi_env env, napi_value value) {
  int type = -1;
  void *data = NULL;
  if (napi_typeof(env, value, &type) != 0 || type != type_external || napi_get_value_external(env, value, &data) != 0)
    return NULL;
  return data;
}

/* One more free slot; false: there is no room for it. */
static bool more_slots(ring *of) {
  uint32_t count = of->slots_count == 0 ? 64 : of->slots_count * 2;
  if (count > slots_max) return false;
  slot *larger = realloc(of->slots, count * sizeof *larger);
  if (larger == NULL) return false;
  of->slots = larger;
  for (uint32_t i = count; i-- > of->slots_count;) {
    larger[i] = (slot){.fd = -1, .generation = 1, .next_free = of->first_free};
    of->first_free = i;
  }
  of->slots_count = count;
  return true;
}

/* add(ring, fd): a connection; generation * 2^20 + slot, or -errno. */
static napi_value add(napi_env env, napi_callback_info info) {
  napi_value values[2];
  size_t given = 2;
  int32_t fd = -1;
  ring *to = NULL;
  napi_value result = NULL;
  if (napi_get_cb_info(env, info, &given, values, NULL, NULL) != 0 || given < 2 ||
      (to = ring_argument(env, values[0])) == NULL || napi_get_value_int32(env, values[1], &fd) != 0 || fd < 0) {
    napi_throw_type_error(env, NULL, "expected (ring, fd)");
    return NULL;
  }
  if (to->first_free == no_slot && !more_slots(to)) return number(env, -ENOMEM);
  uint32_t index = to->first_free;
  slot *taken = &to->slots[index];
  to->first_free = taken->next_free;
  taken->fd = fd;
  napi_create_double(env, (double)taken->generation * slots_max + index, &result);
  return result;
}

static slot *slot_of(ring *in, uint32_t index, uint32_t generation) {
  if (index >= in->slots_count) return NULL;
  slot *found = &in->slots[index];
  return found->fd >= 0 && found->generation == generation ? found : NULL;
}

/* remove(ring, slot, generation): before its descriptor is closed. Again: nothing happens. */
static napi_value remove_call(napi_env env, napi_callback_info info) {
  napi_value values[3];
  size_t given = 3;
  uint32_t index = 0;
  uint32_t generation = 0;
  ring *from = NULL;
  if (napi_get_cb_info(env, info, &given, values, NULL, NULL) != 0 || given < 3 ||
      (from = ring_argument(env, values[0])) == NULL || napi_get_value_uint32(env, values[1], &index) != 0 ||
      napi_get_value_uint32(env, values[2], &generation) != 0) {
    napi_throw_type_error(env, NULL, "expected (ring, slot, generation)");
    return NULL;
  }
  slot *left = slot_of(from, index, generation);
  if (left == NULL) return NULL;
  left->fd = -1;
  if (++left->generation == 0) return NULL; /* 4 billion connections were here: it is not used again */
  left->next_free = from->first_free;
  from->first_free = index;
  return NULL;
}

/*
 * send(ring, arena: Uint8Array, words: Uint32Array, count): one system call, unless the kernel interrupts it. Of each send how
 * many octets were taken, or -errno (-EBADF also for a connection that was taken out), is in `words` then. Returns how many
 * were not taken whole.
 */
static napi_value send_call(napi_env env, napi_callback_info info) {
  napi_value values[4];
  size_t given = 4;
  int arena_type = -1;
  int words_type = -1;
  void *arena = NULL;
  void *data = NULL;
  size_t arena_bytes = 0;
  size_t words_count = 0;
  uint32_t count = 0;
  ring *by = NULL;
  if (napi_get_cb_info(env, info, &given, values, NULL, NULL) != 0 || given < 4 ||
      (by = ring_argument(env, values[0])) == NULL ||
      napi_get_typedarray_info(env, values[1], &arena_type, &arena_bytes, &arena, NULL, NULL) != 0 ||
      arena_type != typed_array_uint8 ||
      napi_get_typedarray_info(env, values[2], &words_type, &words_count, &data, NULL, NULL) != 0 ||
      words_type != typed_array_uint32 || napi_get_value_uint32(env, values[3], &count) != 0 ||
      count > words_count / words_per_send || count > by->entries_count) {
    napi_throw_type_error(env, NULL, "expected (ring, Uint8Array, Uint32Array, count)");
    return NULL;
  }
  uint32_t *words = data;
  uint32_t tail = by->fd < 0 ? 0 : *by->submit_tail;
  uint32_t prepared = 0;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t *each = words + (size_t)i * words_per_send;
    if (each[word_offset] > arena_bytes || each[word_length] > arena_bytes - each[word_offset]) {
      napi_throw_type_error(env, NULL, "octets lie outside the arena"); /* what was prepared is written over next time */
      return NULL;
    }
    const slot *to = slot_of(by, each[word_slot], each[word_generation]);
    each[word_taken] = (uint32_t)(to == NULL || by->fd < 0 ? -EBADF : NOT_KNOWN);
    if (to == NULL || by->fd < 0) continue;
    if (count == 1) { /* a system call as well, and a cheaper one */
      ssize_t taken = send(to->fd, (const uint8_t *)arena + each[word_offset], each[word_length], MSG_DONTWAIT | MSG_NOSIGNAL);
      each[word_taken] = (uint32_t)(taken < 0 ? -errno : (int32_t)taken);
      continue;
    }
    prepare(by, tail + prepared, to->fd, (const uint8_t *)arena + each[word_offset], each[word_length], i);
    prepared++;
  }
  if (prepared > 0 && !submit(by, tail, prepared, words)) close_ring(by);
  int32_t left = 0;
  for (uint32_t i = 0; i < count; i++) {
    const uint32_t *each = words + (size_t)i * words_per_send;
    if (each[word_taken] != each[word_length]) left++;
  }
  return number(env, left);
}

/* close(ring): nothing is sent by it any more. Again: nothing happens. */
static napi_value close_call(napi_env env, napi_callback_info info) {
  napi_value value;
  size_t given = 1;
  ring *closed = NULL;
  if (napi_get_cb_info(env, info, &given, &value, NULL, NULL) != 0 || given < 1 ||
      (closed = ring_argument(env, value)) == NULL) {
    napi_throw_type_error(env, NULL, "expected a ring");
    return NULL;
  }
  close_ring(closed);
  return NULL;
}

/* Node looks for this name. */
__attribute__((visibility("default"))) napi_value napi_register_module_v1(napi_env env, napi_value exports) {
  static const struct {
    const char *name;
    napi_callback call;
  } functions[] = {
      {"open", open_call}, {"add", add}, {"remove", remove_call}, {"send", send_call}, {"close", close_call}};
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    napi_value function;
    if (napi_create_function(env, functions[i].name, strlen(functions[i].name), functions[i].call, NULL, &function) != 0)
      return exports;
    napi_set_named_property(env, exports, functions[i].name, function);
  }
  return exports;
}

__attribute__((visibility("default"))) int32_t node_api_module_get_api_version_v1(void) { return 8; }
