/* The gateway by UDP in clear. Compiled for a PC by this project's tests, to see that it compiles; not run. */
#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "link.h"
#include "sdkconfig.h"

#define SEARCH_GROUP "225.1.1.1"

static int udp = -1;
static struct sockaddr_in gateway;
static struct sockaddr_in everybody;
static struct sockaddr_in sender;

bool link_searches(void) { return strlen(CONFIG_SENSOR_GATEWAY) == 0; }

void link_open(void) {
  everybody.sin_family = AF_INET;
  everybody.sin_port = htons(CONFIG_SENSOR_PORT);
  everybody.sin_addr.s_addr = inet_addr(link_searches() ? SEARCH_GROUP : CONFIG_SENSOR_GATEWAY);
  if (!link_searches()) gateway = everybody;
  udp = socket(AF_INET, SOCK_DGRAM, 0);
}

void link_send(const uint8_t *message, size_t bytes, bool to_everybody) {
  const struct sockaddr_in *to = to_everybody ? &everybody : &gateway;
  if (udp >= 0) (void)sendto(udp, message, bytes, 0, (const struct sockaddr *)to, sizeof *to);
}

void link_gateway_is_sender(void) { gateway = sender; }

void link_wait(uint32_t ms, void (*on_message)(const uint8_t *message, size_t bytes)) {
  uint8_t datagram[1500];
  socklen_t from_bytes = sizeof sender;
  struct timeval patience = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 + 1000};
  ssize_t bytes;
  setsockopt(udp, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  bytes = recvfrom(udp, datagram, sizeof datagram, 0, (struct sockaddr *)&sender, &from_bytes);
  if (bytes > 0) on_message(datagram, (size_t)bytes);
}

void link_moved(void) {} /* the gateway knows this device by what it says in CONNECT */
