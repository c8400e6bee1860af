/* The board: an ESP32 with an SHT40 and a lamp, on Wi-Fi. Not compiled by this project's tests: see ../README.md. The board of
 * hardware/esp32-dtls-sensor, too. */
#include "board.h"

#include <stdatomic.h>
#include <string.h>

#include "driver/gpio.h"
#include "driver/i2c_master.h"
#include "esp_event.h"
#include "esp_random.h"
#include "esp_timer.h"
#include "esp_wifi.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "link.h"
#include "nvs_flash.h"
#include "sensor.h"

static sensor_t sensor;
static i2c_master_dev_handle_t sht40;
static atomic_bool has_address;
static atomic_bool has_moved;

static uint32_t now_ms(void) { return (uint32_t)(esp_timer_get_time() / 1000); }

void board_send(const uint8_t *message, size_t bytes, bool to_everybody) { link_send(message, bytes, to_everybody); }

void board_gateway_is_sender(void) { link_gateway_is_sender(); }

void board_radio(bool on) {
  if (on) {
    esp_wifi_start();
  } else {
    atomic_store(&has_address, false);
    esp_wifi_stop();
  }
}

bool board_measure(int16_t *centidegrees) {
  const uint8_t measure = 0xFD; /* both values, high repeatability: 8.3 ms */
  uint8_t raw[6];
  if (i2c_master_transmit(sht40, &measure, 1, 20) != ESP_OK) return false;
  vTaskDelay(pdMS_TO_TICKS(10) + 1);
  if (i2c_master_receive(sht40, raw, sizeof raw, 20) != ESP_OK) return false;
  *centidegrees = (int16_t)(-4500 + (int32_t)17500 * (raw[0] << 8 | raw[1]) / 65535);
  return true;
}

void board_led(bool on) { gpio_set_level(CONFIG_SENSOR_LED, on); }

static void on_event(void *context, esp_event_base_t base, int32_t id, void *data) {
  (void)context;
  if (base == WIFI_EVENT && id == WIFI_EVENT_STA_START) esp_wifi_connect();
  if (base == WIFI_EVENT && id == WIFI_EVENT_STA_DISCONNECTED) {
    atomic_store(&has_address, false);
    esp_wifi_connect(); /* does nothing once the radio is off */
  }
  if (base == IP_EVENT && id == IP_EVENT_STA_GOT_IP) {
    if (((const ip_event_got_ip_t *)data)->ip_changed) atomic_store(&has_moved, true);
    atomic_store(&has_address, true);
  }
}

static void start_wifi(void) {
  wifi_init_config_t init = WIFI_INIT_CONFIG_DEFAULT();
  wifi_config_t config = {
      .sta = {.ssid = CONFIG_SENSOR_WIFI_SSID, .password = CONFIG_SENSOR_WIFI_PASSWORD},
  };
  ESP_ERROR_CHECK(nvs_flash_init());
  ESP_ERROR_CHECK(esp_netif_init());
  ESP_ERROR_CHECK(esp_event_loop_create_default());
  esp_netif_create_default_wifi_sta();
  ESP_ERROR_CHECK(esp_wifi_init(&init));
  ESP_ERROR_CHECK(esp_event_handler_instance_register(WIFI_EVENT, ESP_EVENT_ANY_ID, on_event, NULL, NULL));
  ESP_ERROR_CHECK(esp_event_handler_instance_register(IP_EVENT, IP_EVENT_STA_GOT_IP, on_event, NULL, NULL));
  ESP_ERROR_CHECK(esp_wifi_set_mode(WIFI_MODE_STA));
  ESP_ERROR_CHECK(esp_wifi_set_config(WIFI_IF_STA, &config));
}

static void start_parts(void) {
  i2c_master_bus_handle_t bus;
  const i2c_master_bus_config_t bus_config = {
      .i2c_port = I2C_NUM_0,
      .sda_io_num = CONFIG_SENSOR_SDA,
      .scl_io_num = CONFIG_SENSOR_SCL,
      .clk_source = I2C_CLK_SRC_DEFAULT,
      .glitch_ignore_cnt = 7,
      .flags.enable_internal_pullup = true,
  };
  const i2c_device_config_t device = {.device_address = 0x44, .scl_speed_hz = 100000};
  gpio_set_direction(CONFIG_SENSOR_LED, GPIO_MODE_OUTPUT);
  ESP_ERROR_CHECK(i2c_new_master_bus(&bus_config, &bus));
  ESP_ERROR_CHECK(i2c_master_bus_add_device(bus, &device, &sht40));
}

static void on_message(const uint8_t *message, size_t bytes) { sensor_receive(&sensor, message, bytes, now_ms()); }

void app_main(void) {
  const sensor_config_t config = {
      .id = CONFIG_SENSOR_ID,
      .interval_seconds = CONFIG_SENSOR_INTERVAL,
#ifdef CONFIG_SENSOR_SLEEPS
      .sleeps = true,
#endif
      .searches = link_searches(),
      .retry_seconds = 10,
      .seed = esp_random(),
  };
  start_parts();
  start_wifi();
  link_open();
  sensor_start(&sensor, &config, now_ms());
  for (;;) {
    uint32_t wait;
    if (atomic_exchange(&has_moved, false)) link_moved();
    sensor_link(&sensor, atomic_load(&has_address), now_ms());
    sensor_poll(&sensor, now_ms());
    wait = sensor_wait(&sensor, now_ms());
    /* Wi-Fi's own news comes in between: look at least so often. */
    if (wait > 250) wait = 250;
    if (atomic_load(&has_address)) link_wait(wait, on_message);
    else vTaskDelay(pdMS_TO_TICKS(wait) + 1);
  }
}
