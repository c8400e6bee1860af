/* Latencies, and the gateway's process as the kernel sees it: see load.h. */
#include "load.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void die(const char *format, ...) {
  va_list list;
  va_start(list, format);
  fputs("load: ", stderr);
  vfprintf(stderr, format, list);
  fputc('\n', stderr);
  va_end(list);
  exit(1);
}

/* ---- latencies ---- */

void note(uint64_t *histogram, uint64_t ns) {
  uint64_t us = ns / 1000;
  int shift = us < 64 ? 0 : 58 - __builtin_clzll(us);
  int place = us < 64 ? (int)us : (shift << 5) + (int)(us >> shift) + 0;
  if (place >= HISTOGRAM) place = HISTOGRAM - 1;
  histogram[place]++;
}

static double middle_of(int place) {
  if (place < 64) return place;
  int shift = (place >> 5) - 1;
  return (double)((uint64_t)(place - (shift << 5)) << shift) + (double)(1u << shift) / 2;
}

double percentile_ms(const uint64_t *histogram, double share) {
  uint64_t total = 0, sum = 0;
  for (int i = 0; i < HISTOGRAM; i++) total += histogram[i];
  for (int i = 0; i < HISTOGRAM; i++) {
    sum += histogram[i];
    if (total > 0 && (double)sum >= share * (double)total) return middle_of(i) / 1000;
  }
  return 0;
}

/* ---- the gateway's process, as the kernel sees it ---- */

double cpu_of(int pid) {
  char path[64], line[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  FILE *file = pid > 0 ? fopen(path, "r") : NULL;
  if (!file) return 0;
  unsigned long user = 0, system = 0;
  if (fgets(line, sizeof line, file)) {
    char *at = strrchr(line, ')');
    if (at) sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
  }
  fclose(file);
  return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

long rss_kb_of(int pid) {
  char path[64], line[256];
  snprintf(path, sizeof path, "/proc/%d/status", pid);
  FILE *file = pid > 0 ? fopen(path, "r") : NULL;
  long kb = 0;
  while (file && fgets(line, sizeof line, file)) sscanf(line, "VmRSS: %ld", &kb);
  if (file) fclose(file);
  return kb;
}

/* Datagrams that the kernel dropped at the gateway's sockets: no room in the receive buffer. */
uint64_t kernel_drops(void) {
  FILE *file = fopen("/proc/net/udp", "r");
  char line[512];
  uint64_t total = 0;
  while (file && fgets(line, sizeof line, file)) {
    unsigned port = 0;
    unsigned long drops = 0;
    if (sscanf(line, " %*d: %*8x:%x %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lu", &port, &drops) == 2 &&
        port == ntohs(gateway_address.sin_port))
      total += drops;
  }
  if (file) fclose(file);
  return total;
}
