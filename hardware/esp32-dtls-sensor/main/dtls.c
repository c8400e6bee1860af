/* The gateway over DTLS: link.h by hardware/sensor/app/secure_link.c. Compiled for a PC by this project's tests, to see that it
 * compiles; not run. */
#include "esp_log.h"
#include "esp_random.h"
#include "esp_timer.h"
#include "link.h"
#include "sdkconfig.h"
#include "secure_link.h"

static const char *const tag = "dtls";
static void (*receiver)(const uint8_t *message, size_t bytes);

static uint32_t now_ms(void) { return (uint32_t)(esp_timer_get_time() / 1000); }

static void on_message(const uint8_t *message, size_t bytes) {
  if (receiver != NULL) receiver(message, bytes);
}

/* The sensor itself continues to try, with growing pauses. */
static void on_change(mqttsn_dtls_result_t result) {
  if (result == MQTTSN_DTLS_OK) ESP_LOGI(tag, "the gateway is there, and knows the key");
  else if (result == MQTTSN_DTLS_WRONG_KEY) ESP_LOGE(tag, "the gateway does not know this identity with this key");
  else ESP_LOGW(tag, "no connection: %d, see mqttsn_dtls.h", (int)result);
}

/* True random numbers while Wi-Fi is on, and nothing is sent while it is off. */
static int on_random(void *context, unsigned char *to, size_t count) {
  (void)context;
  esp_fill_random(to, count);
  return 0;
}

bool link_searches(void) { return false; } /* there is no key that all have */

void link_open(void) {
  const secure_link_config_t config = {
      .identity = CONFIG_SENSOR_ID,
      .key = CONFIG_SENSOR_KEY,
      .gateway = CONFIG_SENSOR_GATEWAY,
      .port = CONFIG_SENSOR_PORT,
      .now = now_ms,
      .random = on_random,
      .on_message = on_message,
      .on_change = on_change,
  };
  if (!secure_link_open(&config)) ESP_LOGE(tag, "key or address of the gateway are not set, or there is no memory");
}

void link_send(const uint8_t *message, size_t bytes, bool to_everybody) {
  if (!to_everybody) secure_link_send(message, bytes);
}

void link_gateway_is_sender(void) {}

void link_wait(uint32_t ms, void (*to)(const uint8_t *message, size_t bytes)) {
  receiver = to;
  secure_link_wait(ms);
}

void link_moved(void) { secure_link_moved(); }
