#include "stream.h"

#include <string.h>

enum { ENCAPSULATED = 0xfe };

static long plain_length(const uint8_t *bytes, size_t length) {
  if (length == 0) return 0;
  if (bytes[0] != 1) return bytes[0] >= 2 ? bytes[0] : -1;
  if (length < 3) return 0;
  long long_form = bytes[1] * 256L + bytes[2];
  return long_form >= 4 ? long_form : -1;
}

long stream_piece_length(const uint8_t *bytes, size_t length) {
  if (length < 2 || bytes[0] < 2 || bytes[1] != ENCAPSULATED) {
    long plain = plain_length(bytes, length);
    return plain > (long)STREAM_MESSAGE_MAX ? -1 : plain;
  }
  size_t header = bytes[0];
  if (header < 3) return -1;
  if (length <= header) return 0;
  long inner = plain_length(bytes + header, length - header);
  if (inner > (long)STREAM_MESSAGE_MAX) return -1;
  return inner > 0 ? (long)header + inner : inner;
}

void stream_reset(struct stream *stream) {
  stream->discarded += stream->length;
  stream->length = 0;
}

/* Hands over what is complete; false when what is left cannot be the head of a piece. */
static int hand_over(struct stream *stream, stream_sink sink, void *context) {
  size_t at = 0;
  long piece = 0;
  while (at < stream->length) {
    piece = stream_piece_length(stream->part + at, stream->length - at);
    if (piece <= 0 || (size_t)piece > stream->length - at) break;
    sink(context, stream->part + at, (size_t)piece);
    at += (size_t)piece;
    piece = 0;
  }
  stream->length -= at;
  memmove(stream->part, stream->part + at, stream->length);
  return piece >= 0;
}

void stream_take(struct stream *stream, const uint8_t *bytes, size_t length, uint64_t now_ms, uint64_t resync_ms,
                 stream_sink sink, void *context) {
  if (stream->length > 0 && now_ms - stream->last_ms >= resync_ms) stream_reset(stream);
  stream->last_ms = now_ms;
  while (length > 0) {
    /* The longest piece fits into `part`, so there is always room after complete ones were handed over. */
    size_t room = sizeof stream->part - stream->length;
    size_t taken = length < room ? length : room;
    memcpy(stream->part + stream->length, bytes, taken);
    stream->length += taken;
    bytes += taken;
    length -= taken;
    if (!hand_over(stream, sink, context)) {
      stream->discarded += length;
      stream_reset(stream);
      return;
    }
  }
}
