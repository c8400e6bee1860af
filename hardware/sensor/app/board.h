/* What the application wants of a board: hardware/esp32-udp-sensor and hardware/nrf52-ble-sensor have one each, and host/
 * one made of a PC's UDP. None of these calls waits. */
#ifndef BOARD_H
#define BOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One MQTT-SN message, to the gateway or to everybody. It may be lost. */
void board_send(const uint8_t *message, size_t bytes, bool to_everybody);

/* The sender of the message that is being received is the gateway from now on. Where there is only one, nothing to do. */
void board_gateway_is_sender(void);

/* The radio is needed, or not for a while. `sensor_link` tells when the gateway can be reached. */
void board_radio(bool on);

/* Hundredths of a degree Celsius. False: the sensor does not answer. */
bool board_measure(int16_t *centidegrees);

void board_led(bool on);

#endif
