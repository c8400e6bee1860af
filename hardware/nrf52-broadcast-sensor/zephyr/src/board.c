/* The board: an nRF52 with an SHT40 and a CR2032. Not compiled by this project's tests: see README.md. */
#include "board.h"

#include <zephyr/bluetooth/bluetooth.h>
#include <zephyr/device.h>
#include <zephyr/drivers/adc.h>
#include <zephyr/drivers/sensor.h>
#include <zephyr/kernel.h>
#include <zephyr/random/random.h>
#include <zephyr/settings/settings.h>

#include "app.h"

static const struct device *const sht = DEVICE_DT_GET(DT_NODELABEL(sht4x));
static const struct adc_dt_spec supply = ADC_DT_SPEC_GET(DT_PATH(zephyr_user));
static uint32_t kept;

bool board_measure(measurement_t *measurement)
{
	struct sensor_value degrees;
	int16_t raw = 0;
	struct adc_sequence sequence = {.buffer = &raw, .buffer_size = sizeof raw};

	if (sensor_sample_fetch(sht) || sensor_channel_get(sht, SENSOR_CHAN_AMBIENT_TEMP, &degrees)) {
		return false;
	}
	measurement->centidegrees = (int16_t)(degrees.val1 * 100 + degrees.val2 / 10000);
	measurement->millivolts = 0;
	if (adc_sequence_init_dt(&supply, &sequence) == 0 && adc_read_dt(&supply, &sequence) == 0) {
		int32_t millivolts = raw;

		if (adc_raw_to_millivolts_dt(&supply, &millivolts) == 0 && millivolts > 0) {
			measurement->millivolts = (uint16_t)millivolts;
		}
	}
	return true;
}

void board_advertise(const uint8_t *advertisement, size_t bytes, uint16_t interval_ms)
{
	/* One element: its length and type are Zephyr's to write. */
	const struct bt_data data = BT_DATA(advertisement[1], advertisement + 2, bytes - 2);
	uint16_t interval = (uint16_t)(interval_ms * 8U / 5U); /* units of 0.625 ms */
	const struct bt_le_adv_param param =
		BT_LE_ADV_PARAM_INIT(BT_LE_ADV_OPT_USE_IDENTITY, interval, interval + 16U, NULL);

	(void)bt_le_adv_start(&param, &data, 1, NULL, 0);
}

void board_quiet(void)
{
	(void)bt_le_adv_stop();
}

void board_sleep(uint32_t ms)
{
	k_msleep((int32_t)ms);
}

static int load(const char *name, size_t size, settings_read_cb read, void *from)
{
	ARG_UNUSED(name);
	return size == sizeof kept && read(from, &kept, sizeof kept) == sizeof kept ? 0 : -EINVAL;
}

SETTINGS_STATIC_HANDLER_DEFINE(sensor, "sensor", NULL, load, NULL, NULL);

uint32_t board_kept(void)
{
	return kept;
}

bool board_keep(uint32_t number)
{
	return settings_save_one("sensor/counter", &number, sizeof number) == 0;
}

void board_address(uint8_t address[6])
{
	bt_addr_le_t identity;
	size_t count = 1;

	bt_id_get(&identity, &count);
	for (int i = 0; i < 6; i++) { /* Zephyr keeps the low octet first */
		address[i] = identity.a.val[5 - i];
	}
}

uint16_t board_dice(void)
{
	return (uint16_t)sys_rand32_get();
}

int main(void)
{
	/* Each device has a key of its own; the gateway has the same under this device's address. */
	static const uint8_t key[16] = {SENSOR_KEY};
	static const app_config_t config = {
		.sender = {.company_id = BROADCAST_COMPANY_TEST, .topic = 7, .key = key, .key_bytes = sizeof key},
		.measure_seconds = 60,
		.heartbeat_seconds = 600,
		.step_centidegrees = 10,
		.advertise_seconds = 5,
		.interval_ms = 1000,
	};
	static app_t app;

	if (bt_enable(NULL)) {
		return 0;
	}
	settings_load(); /* after bt_enable: the identity is in there too */
	app_start(&app, &config);
	for (;;) {
		app_round(&app);
	}
}
