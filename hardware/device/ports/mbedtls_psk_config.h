/* mbed TLS 3.x with what mqttsn_dtls_mbedtls.c needs and no more: DTLS 1.2, a pre-shared key, AES-128-CCM-8, connection ids. For
 * a firmware that uses mbed TLS for nothing else: -DMBEDTLS_CONFIG_FILE='"mbedtls_psk_config.h"'. There is no heap: before
 * `mqttsn_dtls_init` give it memory once, by mbedtls_memory_buffer_alloc_init; README.md says how much. */
#ifndef MBEDTLS_PSK_CONFIG_H
#define MBEDTLS_PSK_CONFIG_H

/* Ciphers. */
#define MBEDTLS_AES_C
#define MBEDTLS_AES_ROM_TABLES
#define MBEDTLS_AES_FEWER_TABLES
#define MBEDTLS_AES_ONLY_128_BIT_KEY_LENGTH
#define MBEDTLS_BLOCK_CIPHER_NO_DECRYPT
#define MBEDTLS_CIPHER_C
#define MBEDTLS_CCM_C
#define MBEDTLS_MD_C
#define MBEDTLS_SHA256_C
#define MBEDTLS_SHA256_SMALLER

/* DTLS. */
#define MBEDTLS_SSL_TLS_C
#define MBEDTLS_SSL_CLI_C
#define MBEDTLS_SSL_PROTO_TLS1_2
#define MBEDTLS_SSL_PROTO_DTLS
#define MBEDTLS_SSL_DTLS_ANTI_REPLAY
#define MBEDTLS_SSL_EXTENDED_MASTER_SECRET
#define MBEDTLS_SSL_DTLS_CONNECTION_ID
#define MBEDTLS_SSL_DTLS_CONNECTION_ID_COMPAT 0
#define MBEDTLS_SSL_CID_IN_LEN_MAX 1
#define MBEDTLS_SSL_CID_OUT_LEN_MAX 20
#define MBEDTLS_SSL_CID_TLS1_3_PADDING_GRANULARITY 1
#define MBEDTLS_KEY_EXCHANGE_PSK_ENABLED
#define MBEDTLS_SSL_CIPHERSUITES MBEDTLS_TLS_PSK_WITH_AES_128_CCM_8
#define MBEDTLS_PSK_MAX_LEN 64

/* Memory. The longest record either way; a handshake's are shorter than 256. */
#define MBEDTLS_SSL_IN_CONTENT_LEN 512
#define MBEDTLS_SSL_OUT_CONTENT_LEN 512
#define MBEDTLS_PLATFORM_C
#define MBEDTLS_PLATFORM_MEMORY
#define MBEDTLS_MEMORY_BUFFER_ALLOC_C
#define MBEDTLS_PLATFORM_NO_STD_FUNCTIONS

#endif
