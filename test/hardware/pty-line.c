/*
 * A serial line without a wire: makes a pseudo-terminal, links its name to argv[1], and carries octets between it and
 * stdin/stdout. When it ends, whoever has the line open sees it go, as if it were unplugged.
 */
#define _XOPEN_SOURCE 700
#define _DEFAULT_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

static int carry(int from, int to) {
  char bytes[4096];
  ssize_t got = read(from, bytes, sizeof bytes);
  for (ssize_t at = 0; at < got;) {
    ssize_t put = write(to, bytes + at, (size_t)(got - at));
    if (put <= 0) return 0;
    at += put;
  }
  return got > 0;
}

int main(int count, char **words) {
  struct termios raw;
  int master = posix_openpt(O_RDWR | O_NOCTTY);
  if (count != 2 || master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) return 1;
  const char *name = ptsname(master);
  int slave = open(name, O_RDWR | O_NOCTTY); /* kept: without it the master fails while nobody has the line open */
  if (slave < 0 || tcgetattr(slave, &raw) != 0) return 1;
  cfmakeraw(&raw);
  if (tcsetattr(slave, TCSANOW, &raw) != 0) return 1;
  unlink(words[1]);
  if (symlink(name, words[1]) != 0) return 1;
  if (write(STDERR_FILENO, "ready\n", 6) != 6) return 1;
  struct pollfd ends[2] = {{STDIN_FILENO, POLLIN, 0}, {master, POLLIN, 0}};
  while (poll(ends, 2, -1) > 0) {
    if (ends[0].revents && !carry(STDIN_FILENO, master)) break;
    if (ends[1].revents && !carry(master, STDOUT_FILENO)) break;
  }
  unlink(words[1]);
  return 0;
}
