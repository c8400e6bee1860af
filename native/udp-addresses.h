/*
 * Addresses as udp-batch.c and JavaScript exchange them: numbers in an array, for the sender or receiver of each datagram, and
 * for the address of this host. [ip(7), ipv6(7)]
 */
#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

/* Of each datagram, in 32-bit words: where its octets begin in the arena, how many there are, port, IPv6 scope, and the
 * address, an IPv4 one mapped into IPv6 [RFC 4291 2.5.5.2], each word in the host's order. */
enum { word_offset, word_length, word_port, word_scope, word_address, words_per_datagram = word_address + 4 };
/* With a socket that is bound to all addresses, of each datagram: the address of this host that it was sent to, or is to
 * leave from, written as above, after the interface where only both together are an address (IPv6 link-local). All of it
 * 0: not known, the kernel chooses. */
enum { local_scope, local_address, words_per_local = local_address + 4 };

static void store_address(const struct sockaddr_storage *from, uint32_t *words) {
  if (from->ss_family == AF_INET6) {
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)from;
    uint32_t address[4];
    memcpy(address, &v6->sin6_addr, sizeof address);
    for (int i = 0; i < 4; i++) words[word_address + i] = ntohl(address[i]);
    words[word_port] = ntohs(v6->sin6_port);
    words[word_scope] = v6->sin6_scope_id;
    return;
  }
  const struct sockaddr_in *v4 = (const struct sockaddr_in *)from;
  words[word_address] = 0;
  words[word_address + 1] = 0;
  words[word_address + 2] = 0xffff;
  words[word_address + 3] = ntohl(v4->sin_addr.s_addr);
  words[word_port] = ntohs(v4->sin_port);
  words[word_scope] = 0;
}

static bool is_v4(const uint32_t *words) {
  return words[word_address] == 0 && words[word_address + 1] == 0 && words[word_address + 2] == 0xffff;
}

static socklen_t load_address(struct sockaddr_storage *to, const uint32_t *words) {
  memset(to, 0, sizeof *to);
  if (!is_v4(words)) {
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)to;
    uint32_t address[4];
    for (int i = 0; i < 4; i++) address[i] = htonl(words[word_address + i]);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons((uint16_t)words[word_port]);
    v6->sin6_scope_id = words[word_scope];
    memcpy(&v6->sin6_addr, address, sizeof address);
    return sizeof *v6;
  }
  struct sockaddr_in *v4 = (struct sockaddr_in *)to;
  v4->sin_family = AF_INET;
  v4->sin_port = htons((uint16_t)words[word_port]);
  v4->sin_addr.s_addr = htonl(words[word_address + 3]);
  return sizeof *v4;
}

/* Room for the address that a datagram was sent to, or leaves from. */
typedef union {
  struct cmsghdr head;
  char octets[CMSG_SPACE(sizeof(struct in6_pktinfo))];
} control;

static void store_local(struct msghdr *header, uint32_t *local) {
  memset(local, 0, words_per_local * sizeof *local);
  for (struct cmsghdr *each = CMSG_FIRSTHDR(header); each != NULL; each = CMSG_NXTHDR(header, each)) {
    if (each->cmsg_level == IPPROTO_IP && each->cmsg_type == IP_PKTINFO) {
      struct in_pktinfo info;
      memcpy(&info, CMSG_DATA(each), sizeof info);
      /* Where they differ it was sent to a group, or to all: no source of an answer. */
      if (info.ipi_addr.s_addr != info.ipi_spec_dst.s_addr) continue;
      local[local_address + 2] = 0xffff;
      local[local_address + 3] = ntohl(info.ipi_addr.s_addr);
    } else if (each->cmsg_level == IPPROTO_IPV6 && each->cmsg_type == IPV6_PKTINFO) {
      struct in6_pktinfo info;
      uint32_t address[4];
      memcpy(&info, CMSG_DATA(each), sizeof info);
      if (IN6_IS_ADDR_MULTICAST(&info.ipi6_addr)) continue;
      memcpy(address, &info.ipi6_addr, sizeof address);
      for (int i = 0; i < 4; i++) local[local_address + i] = ntohl(address[i]);
      if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr)) local[local_scope] = (uint32_t)info.ipi6_ifindex;
    }
  }
}

/* The way out is left to the kernel, as for any other datagram: only the source is set. */
static void load_local(struct msghdr *header, control *room, const uint32_t *local) {
  const uint32_t *word = local + local_address;
  if ((word[0] | word[1] | word[2] | word[3]) == 0) return;
  bool v4 = word[0] == 0 && word[1] == 0 && word[2] == 0xffff;
  memset(room, 0, sizeof *room);
  header->msg_control = room;
  header->msg_controllen = v4 ? CMSG_SPACE(sizeof(struct in_pktinfo)) : CMSG_SPACE(sizeof(struct in6_pktinfo));
  struct cmsghdr *head = CMSG_FIRSTHDR(header);
  if (v4) {
    struct in_pktinfo info = {.ipi_spec_dst.s_addr = htonl(word[3])};
    head->cmsg_level = IPPROTO_IP;
    head->cmsg_type = IP_PKTINFO;
    head->cmsg_len = CMSG_LEN(sizeof info);
    memcpy(CMSG_DATA(head), &info, sizeof info);
  } else {
    struct in6_pktinfo info = {.ipi6_ifindex = local[local_scope]};
    uint32_t address[4];
    for (int i = 0; i < 4; i++) address[i] = htonl(word[i]);
    memcpy(&info.ipi6_addr, address, sizeof address);
    head->cmsg_level = IPPROTO_IPV6;
    head->cmsg_type = IPV6_PKTINFO;
    head->cmsg_len = CMSG_LEN(sizeof info);
    memcpy(CMSG_DATA(head), &info, sizeof info);
  }
}
