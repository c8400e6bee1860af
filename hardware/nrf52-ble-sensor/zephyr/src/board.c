/* The board: an nRF52 with an SHT40, Nordic UART Service. Not compiled by this project's tests: see ../../README.md.
 * Bluetooth calls from threads of its own: what they bring is queued, and the application runs in one thread. */
#include "board.h"

#include <string.h>
#include <zephyr/bluetooth/bluetooth.h>
#include <zephyr/bluetooth/conn.h>
#include <zephyr/bluetooth/gatt.h>
#include <zephyr/bluetooth/services/nus.h>
#include <zephyr/drivers/gpio.h>
#include <zephyr/drivers/sensor.h>
#include <zephyr/kernel.h>
#include <zephyr/random/random.h>

#include "mqttsn_framing.h"
#include "sensor.h"

enum { MTU_HEAD = 3, MTU_MIN = 23, NEWS_BYTES = 244, NEWS_MAX = 8, RESYNC_MS = 8000 };
enum news_kind { NEWS_UP, NEWS_DOWN, NEWS_OCTETS };

struct news {
	uint8_t kind;
	uint8_t count;
	uint8_t octets[NEWS_BYTES];
};

K_MSGQ_DEFINE(news_queue, sizeof(struct news), NEWS_MAX, 4);

static const struct device *const sht = DEVICE_DT_GET(DT_NODELABEL(sht4x));
static const struct gpio_dt_spec lamp = GPIO_DT_SPEC_GET(DT_ALIAS(led0), gpios);
static struct bt_conn *link;
static sensor_t sensor;
static mqttsn_framing_t framing;
static uint8_t assembly[512];
static bool wanted;

static void report(uint8_t kind, const void *octets, size_t count)
{
	struct news news = {.kind = kind};

	while (count > 0 || kind != NEWS_OCTETS) {
		news.count = (uint8_t)MIN(count, sizeof news.octets);
		memcpy(news.octets, octets, news.count);
		/* Full: lost. The gateway repeats what was not answered. */
		(void)k_msgq_put(&news_queue, &news, K_NO_WAIT);
		octets = (const uint8_t *)octets + news.count;
		count -= news.count;
		if (kind != NEWS_OCTETS) {
			return;
		}
	}
}

static void advertise(void)
{
	static const struct bt_data data[] = {
		BT_DATA_BYTES(BT_DATA_FLAGS, BT_LE_AD_GENERAL | BT_LE_AD_NO_BREDR),
		BT_DATA_BYTES(BT_DATA_UUID128_ALL, BT_UUID_NUS_SRV_VAL),
	};
	static const struct bt_data answer[] = {BT_DATA(BT_DATA_NAME_COMPLETE, SENSOR_ID, sizeof(SENSOR_ID) - 1)};

	(void)bt_le_adv_start(BT_LE_ADV_CONN_FAST_2, data, ARRAY_SIZE(data), answer, ARRAY_SIZE(answer));
}

static void on_connected(struct bt_conn *conn, uint8_t error)
{
	if (error == 0) {
		link = bt_conn_ref(conn);
	}
}

static void on_disconnected(struct bt_conn *conn, uint8_t reason)
{
	ARG_UNUSED(conn);
	ARG_UNUSED(reason);
	if (link != NULL) {
		bt_conn_unref(link);
		link = NULL;
	}
	report(NEWS_DOWN, "", 0);
}

BT_CONN_CB_DEFINE(connection) = {.connected = on_connected, .disconnected = on_disconnected};

static void on_subscribed(bool enabled, void *context)
{
	ARG_UNUSED(context);
	report(enabled ? NEWS_UP : NEWS_DOWN, "", 0);
}

static void on_octets(struct bt_conn *conn, const void *octets, uint16_t count, void *context)
{
	ARG_UNUSED(conn);
	ARG_UNUSED(context);
	report(NEWS_OCTETS, octets, count);
}

static struct bt_nus_cb uart = {.notif_enabled = on_subscribed, .received = on_octets};

void board_send(const uint8_t *message, size_t bytes, bool to_everybody)
{
	size_t most = (link != NULL ? MAX(bt_gatt_get_mtu(link), MTU_MIN) : MTU_MIN) - MTU_HEAD;

	ARG_UNUSED(to_everybody);
	for (size_t at = 0; link != NULL && at < bytes; at += most) {
		if (bt_nus_send(link, message + at, (uint16_t)MIN(bytes - at, most)) != 0) {
			return; /* the rest of a message is no message; the client repeats it */
		}
	}
}

void board_gateway_is_sender(void)
{
}

void board_radio(bool on)
{
	wanted = on;
	if (on) {
		advertise();
		return;
	}
	(void)bt_le_adv_stop();
	if (link != NULL) {
		(void)bt_conn_disconnect(link, BT_HCI_ERR_REMOTE_USER_TERM_CONN);
	}
}

bool board_measure(int16_t *centidegrees)
{
	struct sensor_value degrees;

	if (sensor_sample_fetch(sht) || sensor_channel_get(sht, SENSOR_CHAN_AMBIENT_TEMP, &degrees)) {
		return false;
	}
	*centidegrees = (int16_t)(degrees.val1 * 100 + degrees.val2 / 10000);
	return true;
}

void board_led(bool on)
{
	(void)gpio_pin_set_dt(&lamp, on);
}

static void on_message(void *context, const uint8_t *message, size_t bytes)
{
	ARG_UNUSED(context);
	sensor_receive(&sensor, message, bytes, k_uptime_get_32());
}

static void take(const struct news *news)
{
	uint32_t now = k_uptime_get_32();

	switch (news->kind) {
	case NEWS_UP:
		mqttsn_framing_reset(&framing); /* a link begins at the head of a message */
		sensor_link(&sensor, true, now);
		break;
	case NEWS_DOWN:
		sensor_link(&sensor, false, now);
		if (wanted) {
			advertise(); /* the gateway took the link away; it is still needed */
		}
		break;
	default:
		mqttsn_framing_take(&framing, news->octets, news->count, now, on_message, NULL);
		break;
	}
}

int main(void)
{
	const sensor_config_t config = {
		.id = SENSOR_ID,
		.interval_seconds = 60,
		.sleeps = true,
		.retry_seconds = 10,
		.seed = sys_rand32_get(),
	};

	(void)gpio_pin_configure_dt(&lamp, GPIO_OUTPUT_INACTIVE);
	mqttsn_framing_init(&framing, assembly, sizeof assembly, RESYNC_MS);
	if (bt_nus_cb_register(&uart, NULL) || bt_enable(NULL)) {
		return 0;
	}
	sensor_start(&sensor, &config, k_uptime_get_32());
	for (;;) {
		uint32_t wait = sensor_wait(&sensor, k_uptime_get_32());
		struct news news;

		if (k_msgq_get(&news_queue, &news, wait == UINT32_MAX ? K_FOREVER : K_MSEC(wait)) == 0) {
			take(&news);
		}
		sensor_poll(&sensor, k_uptime_get_32());
	}
}
