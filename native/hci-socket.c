/*
 * What Node and noble do not tell of Bluetooth's sockets: how many packets the kernel dropped because nobody read them, how
 * much it holds, and which adapters there are and whether they are up.
 *
 * An optional part: `scripts/build-native.mjs` compiles it where there is a C compiler. Nothing is allocated, nothing is
 * read from a socket, and no adapter is changed. SO_RXQ_OVFL would be of no use: it comes with recvmsg, noble's native part
 * calls read, and the kernel does not attach it to HCI packets. The same counter is read with SO_MEMINFO. [socket(7)]
 *
 * Built without Node's headers, as udp-batch.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node-api.h"

extern napi_status napi_create_double(napi_env, double, napi_value *);

/* Of the kernel's interface, linux/sock_diag.h and net/bluetooth/hci_sock.h. */
enum { so_meminfo = 55, meminfo_drops = 8, meminfo_words = 9 };
enum { bluetooth_hci = 1, adapters_max = 16 };
enum { ioctl_size = sizeof(int) };
#define HCI_DEVICE_LIST _IOC(_IOC_READ, 'H', 210, ioctl_size)
#define HCI_DEVICE_INFO _IOC(_IOC_READ, 'H', 211, ioctl_size)

struct device_list {
  uint16_t count;
  struct {
    uint16_t id;
    uint32_t flags;
  } devices[adapters_max];
};

/* The beginning is what is read; the kernel writes 92 octets. */
struct device_info {
  uint16_t id;
  char name[8];
  uint8_t address[6];
  uint32_t flags;
  uint8_t rest[108];
};

/* Of each adapter, in 32-bit words: its number, its flags (bit 0: it is up), its address, low half first. */
enum { word_id, word_flags, word_address_low, word_address_high, words_per_adapter };

static napi_value number(napi_env env, double value) {
  napi_value result = NULL;
  napi_create_double(env, value, &result);
  return result;
}

/* Reads `count` whole numbers; false: an exception is pending. */
static bool read_numbers(napi_env env, napi_callback_info info, size_t count, int32_t *out) {
  napi_value values[2];
  size_t given = 2;
  if (napi_get_cb_info(env, info, &given, values, NULL, NULL) != 0 || given < count) goto wrong;
  for (size_t i = 0; i < count; i++)
    if (napi_get_value_int32(env, values[i], &out[i]) != 0) goto wrong;
  return true;
wrong:
  napi_throw_type_error(env, NULL, "expected numbers");
  return false;
}

/* isHci(fd): 1 = a socket of the Bluetooth controller's packets, 0 = anything else. */
static napi_value is_hci(napi_env env, napi_callback_info info) {
  int32_t fd;
  if (!read_numbers(env, info, 1, &fd)) return NULL;
  int domain = 0;
  int protocol = 0;
  socklen_t length = sizeof(int);
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0 || domain != AF_BLUETOOTH) return number(env, 0);
  length = sizeof(int);
  if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) != 0) return number(env, 0);
  return number(env, protocol == bluetooth_hci);
}

/* drops(fd): packets that the kernel dropped because the socket was full, since it is open; wraps at 2^32. Or -errno. */
static napi_value drops(napi_env env, napi_callback_info info) {
  int32_t fd;
  if (!read_numbers(env, info, 1, &fd)) return NULL;
  uint32_t words[meminfo_words];
  socklen_t length = sizeof words;
  if (getsockopt(fd, SOL_SOCKET, so_meminfo, words, &length) != 0) return number(env, -errno);
  if (length < sizeof words) return number(env, -ENOPROTOOPT); /* an older kernel */
  return number(env, words[meminfo_drops]);
}

/* receiveBuffer(fd, octets): what the kernel holds of it now, as it counts (twice the octets), or -errno. Beyond the
 * system's limit only with the right CAP_NET_ADMIN; less than it has is left alone. */
static napi_value receive_buffer(napi_env env, napi_callback_info info) {
  int32_t given[2];
  if (!read_numbers(env, info, 2, given)) return NULL;
  int has = 0;
  socklen_t length = sizeof has;
  if (getsockopt(given[0], SOL_SOCKET, SO_RCVBUF, &has, &length) != 0) return number(env, -errno);
  if (has / 2 < given[1] &&
      setsockopt(given[0], SOL_SOCKET, SO_RCVBUFFORCE, &given[1], sizeof given[1]) != 0)
    setsockopt(given[0], SOL_SOCKET, SO_RCVBUF, &given[1], sizeof given[1]);
  length = sizeof has;
  if (getsockopt(given[0], SOL_SOCKET, SO_RCVBUF, &has, &length) != 0) return number(env, -errno);
  return number(env, has);
}

/* adapters(words: Uint32Array): how many there are, each told in words_per_adapter words; or -errno. Needs no right. */
static napi_value adapters(napi_env env, napi_callback_info info) {
  napi_value value;
  size_t given = 1;
  int type = -1;
  void *data = NULL;
  size_t length = 0;
  if (napi_get_cb_info(env, info, &given, &value, NULL, NULL) != 0 || given < 1 ||
      napi_get_typedarray_info(env, value, &type, &length, &data, NULL, NULL) != 0 || type != typed_array_uint32) {
    napi_throw_type_error(env, NULL, "expected a Uint32Array");
    return NULL;
  }
  int fd = socket(AF_BLUETOOTH, SOCK_RAW | SOCK_CLOEXEC, bluetooth_hci);
  if (fd < 0) return number(env, -errno);
  struct device_list list = {.count = adapters_max};
  if (ioctl(fd, HCI_DEVICE_LIST, &list) != 0) {
    int failed = errno;
    close(fd);
    return number(env, -failed);
  }
  uint32_t *words = data;
  size_t told = 0;
  for (size_t i = 0; i < list.count && i < adapters_max && (told + 1) * words_per_adapter <= length; i++) {
    struct device_info device = {.id = list.devices[i].id};
    if (ioctl(fd, HCI_DEVICE_INFO, &device) != 0) continue; /* gone meanwhile */
    uint32_t *of = words + told++ * words_per_adapter;
    const uint8_t *a = device.address;
    of[word_id] = device.id;
    of[word_flags] = device.flags;
    of[word_address_low] = a[0] | a[1] << 8 | a[2] << 16 | (uint32_t)a[3] << 24;
    of[word_address_high] = a[4] | a[5] << 8;
  }
  close(fd);
  return number(env, (double)told);
}

/* Node looks for this name. */
__attribute__((visibility("default"))) napi_value napi_register_module_v1(napi_env env, napi_value exports) {
  static const struct {
    const char *name;
    napi_callback call;
  } functions[] = {{"isHci", is_hci}, {"drops", drops}, {"receiveBuffer", receive_buffer}, {"adapters", adapters}};
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    napi_value function;
    if (napi_create_function(env, functions[i].name, strlen(functions[i].name), functions[i].call, NULL, &function) != 0)
      return exports;
    napi_set_named_property(env, exports, functions[i].name, function);
  }
  return exports;
}

__attribute__((visibility("default"))) int32_t node_api_module_get_api_version_v1(void) { return 8; }
