/*
 * MQTT-SN messages in a stream of octets: the Length at the head of each says where it ends. [MQTT-SN 1.2 5.2.1]
 * A forwarder encapsulation and the message in it are one piece. [5.5]
 *
 * No heap, no clock, no I/O: the caller gives octets and the time.
 */
#ifndef STREAM_H
#define STREAM_H

#include <stddef.h>
#include <stdint.h>

/* Longest encapsulation header, and the longest message taken in it. */
#define STREAM_HEADER_MAX 255u
#define STREAM_MESSAGE_MAX 1024u
#define STREAM_PIECE_MAX (STREAM_HEADER_MAX + STREAM_MESSAGE_MAX)

struct stream {
  uint8_t part[STREAM_PIECE_MAX];
  size_t length;
  uint64_t last_ms;
  /* Octets thrown away: parts of messages, noise. */
  uint64_t discarded;
};

/* Called with one piece; the octets are invalid after it returns. */
typedef void (*stream_sink)(void *context, const uint8_t *piece, size_t length);

/*
 * Length of the piece that begins here: 0 = more octets are needed, -1 = none begins so.
 */
long stream_piece_length(const uint8_t *bytes, size_t length);

/*
 * Takes the octets of one read and passes complete pieces to `sink`. After silence of `resync_ms` in the middle of a piece, this read
 * begins a new piece; after an impossible Length, the next read does.
 */
void stream_take(struct stream *stream, const uint8_t *bytes, size_t length, uint64_t now_ms, uint64_t resync_ms,
                 stream_sink sink, void *context);

/* Discards an incomplete piece: the line is a new one. */
void stream_reset(struct stream *stream);

#endif
