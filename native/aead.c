/*
 * Seals and opens one record: AES-128-CCM with a tag of 8 or 16 octets, and AES-128-GCM. [RFC 3610, RFC 6655, NIST SP 800-38D]
 *
 * An optional part: `scripts/build-native.mjs` compiles it where there is a C compiler, and where there is none the same is
 * done by node:crypto, octet by octet. The ciphers are those of the OpenSSL that Node itself carries and exports (AES-NI where
 * the processor has it; constant in time, and so is the comparison of tags): here is no cipher, only a shorter way to it.
 * node:crypto makes four objects for each record, and those are most of what a record costs.
 *
 * Everything passes through one piece of memory, the arena, which belongs to one environment of Node (a worker thread has its
 * own). Nothing is kept between two calls that a call could need: each brings key, nonce, text and what is authenticated
 * besides. Whoever calls sees to it that no nonce comes twice under one key.
 *
 * Built without headers of Node and OpenSSL: the declarations are those of Node-API 8, and of OpenSSL 3's EVP interface.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "node-api.h"

typedef struct napi_ref_ *napi_ref;
extern napi_status napi_create_int32(napi_env, int32_t, napi_value *);
extern napi_status napi_create_arraybuffer(napi_env, size_t, void **, napi_value *);
extern napi_status napi_create_typedarray(napi_env, int, size_t, napi_value, size_t, napi_value *);
extern napi_status napi_create_reference(napi_env, napi_value, uint32_t, napi_ref *);
extern napi_status napi_add_env_cleanup_hook(napi_env, void (*)(void *), void *);

typedef struct evp_cipher_st EVP_CIPHER;
typedef struct evp_cipher_ctx_st EVP_CIPHER_CTX;
extern EVP_CIPHER *EVP_CIPHER_fetch(void *, const char *, const char *);
extern void EVP_CIPHER_free(EVP_CIPHER *);
extern EVP_CIPHER_CTX *EVP_CIPHER_CTX_new(void);
extern void EVP_CIPHER_CTX_free(EVP_CIPHER_CTX *);
extern int EVP_CIPHER_CTX_ctrl(EVP_CIPHER_CTX *, int, int, void *);
extern int EVP_CipherInit_ex(EVP_CIPHER_CTX *, const EVP_CIPHER *, void *, const unsigned char *, const unsigned char *, int);
extern int EVP_CipherUpdate(EVP_CIPHER_CTX *, unsigned char *, int *, const unsigned char *, int);
extern int EVP_CipherFinal_ex(EVP_CIPHER_CTX *, unsigned char *, int *);
enum { set_iv_length = 0x09, get_tag = 0x10, set_tag = 0x11 };

/* Where in the arena what stands; src/transports/dtls/native-crypto.ts has the same numbers. */
enum {
  at_key = 0,
  key_bytes = 16,
  at_nonce = 16,
  nonce_bytes = 12,
  at_about = 32,
  about_bytes_max = 64,
  at_text = at_about + about_bytes_max,
  text_bytes_max = 17 * 1024, /* a record with its tag is shorter [RFC 6347 4.1] */
  arena_bytes = at_text + text_bytes_max,
};
enum { ccm_8, ccm, gcm, kinds };

typedef struct {
  uint8_t *arena;
  /* Prepared once for each kind, for opening and sealing: only key and nonce change. NULL: it could not be. */
  EVP_CIPHER_CTX *prepared[kinds][2];
} aead;

static int tag_bytes(int kind) { return kind == ccm_8 ? 8 : 16; }

static EVP_CIPHER_CTX *prepare(int kind, int sealing) {
  EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, kind == gcm ? "AES-128-GCM" : "AES-128-CCM", NULL);
  EVP_CIPHER_CTX *made = EVP_CIPHER_CTX_new();
  bool ok = cipher != NULL && made != NULL && EVP_CipherInit_ex(made, cipher, NULL, NULL, NULL, sealing) == 1 &&
            EVP_CIPHER_CTX_ctrl(made, set_iv_length, nonce_bytes, NULL) == 1 &&
            (kind == gcm || EVP_CIPHER_CTX_ctrl(made, set_tag, tag_bytes(kind), NULL) == 1);
  EVP_CIPHER_free(cipher); /* the context has a hold on it */
  if (ok) return made;
  EVP_CIPHER_CTX_free(made);
  return NULL;
}

/* In its place: the text becomes its cipher with the tag behind it, or back. False: the tag does not match, or OpenSSL fails. */
static bool work(const aead *of, int kind, int sealing, int about, int text) {
  EVP_CIPHER_CTX *with = of->prepared[kind][sealing];
  uint8_t *arena = of->arena;
  uint8_t *place = arena + at_text;
  uint8_t *tag = place + text;
  int done = 0;
  if (with == NULL) return false;
  /* What CCM opens it compares with a tag that it knows before. */
  if (EVP_CipherInit_ex(with, NULL, NULL, arena + at_key, arena + at_nonce, sealing) != 1) return false;
  if (!sealing && EVP_CIPHER_CTX_ctrl(with, set_tag, tag_bytes(kind), tag) != 1) return false;
  if (kind != gcm && EVP_CipherUpdate(with, NULL, &done, NULL, text) != 1) return false; /* how long it will be */
  if (EVP_CipherUpdate(with, NULL, &done, arena + at_about, about) != 1) return false;
  if (EVP_CipherUpdate(with, place, &done, place, text) != 1 || done != text) return false;
  if ((sealing || kind == gcm) && EVP_CipherFinal_ex(with, tag, &done) != 1) return false;
  return !sealing || EVP_CIPHER_CTX_ctrl(with, get_tag, tag_bytes(kind), tag) == 1;
}

/* (kind, sealing, octets of about, octets of text): 1, or 0 where it is not to be used. The text has at least one octet. */
static napi_value work_call(napi_env env, napi_callback_info info) {
  napi_value values[4];
  size_t given = 4;
  void *data = NULL;
  int32_t in[4];
  if (napi_get_cb_info(env, info, &given, values, NULL, &data) != 0 || given < 4) goto wrong;
  for (int i = 0; i < 4; i++)
    if (napi_get_value_int32(env, values[i], &in[i]) != 0) goto wrong;
  if (in[0] < 0 || in[0] >= kinds || in[1] < 0 || in[1] > 1 || in[2] < 1 || in[2] > about_bytes_max || in[3] < 1 ||
      in[3] > text_bytes_max - tag_bytes(in[0]))
    goto wrong;
  napi_value result = NULL;
  napi_create_int32(env, work(data, in[0], in[1], in[2], in[3]) ? 1 : 0, &result);
  return result;
wrong:
  napi_throw_type_error(env, NULL, "expected (kind, 0 or 1, octets of about, octets of text)");
  return NULL;
}

static void forget(void *data) {
  aead *of = data;
  for (int kind = 0; kind < kinds; kind++)
    for (int sealing = 0; sealing < 2; sealing++) EVP_CIPHER_CTX_free(of->prepared[kind][sealing]);
  free(of);
}

/* Node looks for this name. Without `work` among the exports nothing of this can be used. */
__attribute__((visibility("default"))) napi_value napi_register_module_v1(napi_env env, napi_value exports) {
  napi_value buffer, arena, call;
  napi_ref held; /* as long as the environment is there */
  void *memory = NULL;
  aead *made = calloc(1, sizeof *made);
  if (made == NULL) return exports;
  if (napi_create_arraybuffer(env, arena_bytes, &memory, &buffer) != 0 ||
      napi_create_typedarray(env, typed_array_uint8, arena_bytes, buffer, 0, &arena) != 0 ||
      napi_create_reference(env, arena, 1, &held) != 0 || napi_add_env_cleanup_hook(env, forget, made) != 0) {
    free(made);
    return exports;
  }
  made->arena = memory;
  for (int kind = 0; kind < kinds; kind++)
    for (int sealing = 0; sealing < 2; sealing++) {
      made->prepared[kind][sealing] = prepare(kind, sealing);
      if (made->prepared[kind][sealing] == NULL) return exports;
    }
  if (napi_create_function(env, "work", 4, work_call, made, &call) != 0) return exports;
  napi_set_named_property(env, exports, "arena", arena);
  napi_set_named_property(env, exports, "work", call);
  return exports;
}

__attribute__((visibility("default"))) int32_t node_api_module_get_api_version_v1(void) { return 8; }
