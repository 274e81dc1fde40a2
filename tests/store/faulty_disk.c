/* A disk that fails on command: this library is preloaded into a process and replaces functions of the C library.
 *
 * The environment variable FAULTY_DISK names the file with the commands. The file is mapped into memory, so commands of
 * any process take effect at once; tests/store/faulty_disk.py uses the same layout. A call matches if its kind is one of
 * `kinds` and the path of its file, with a "$" appended, contains `name`.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

enum { WRITE = 1, SYNC = 2, TRUNCATE = 4, READ = 8 };
enum { REFUSE = 0, DO_AND_REFUSE = 1, HALF_THEN_REFUSE = 2, KILL = 3, DO_AND_KILL = 4 };

struct commands {
  uint32_t kinds; /* kinds of the calls that match; 0: none */
  uint32_t skip;  /* matching calls that pass first */
  uint32_t fail;  /* calls that fail after them */
  uint32_t error; /* errno of failed calls */
  uint32_t how;
  uint32_t seen;   /* calls that matched */
  uint32_t failed; /* calls that failed */
  char name[228];
};

static volatile struct commands *commands;

__attribute__((constructor)) static void map_commands(void) {
  const char *path = getenv("FAULTY_DISK");
  int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *mapped = mmap(NULL, sizeof(struct commands), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (mapped != MAP_FAILED) commands = mapped;
}

/* Return the number of this call among the failing ones, from 1; 0: the call does not fail. */
static uint32_t fails(uint32_t kind, int file) {
  char link[32], path[512];
  if (!commands || !(commands->kinds & kind)) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, sizeof path - 2);
  if (length < 0) return 0;
  path[length] = '$';
  path[length + 1] = 0;
  if (!strstr(path, (const char *)commands->name)) return 0;
  uint32_t before = __atomic_fetch_add(&commands->seen, 1, __ATOMIC_SEQ_CST);
  if (before < commands->skip || before - commands->skip >= commands->fail) return 0;
  __atomic_fetch_add(&commands->failed, 1, __ATOMIC_SEQ_CST);
  if (commands->how == KILL) kill(getpid(), SIGKILL);
  return before - commands->skip + 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* Make the call, or fail it: the expression `all` does the whole call, `half` a part of it. */
#define FAULTY(kind, file, all, half)                     \
  do {                                                    \
    uint32_t which = fails(kind, file);                   \
    if (!which) return all;                               \
    if (commands->how == HALF_THEN_REFUSE && which == 1)  \
      return half;                                        \
    if (commands->how == DO_AND_REFUSE) (void)!all;       \
    if (commands->how == DO_AND_KILL) {                   \
      (void)!all;                                         \
      kill(getpid(), SIGKILL);                            \
    }                                                     \
    errno = (int)commands->error;                         \
    return -1;                                            \
  } while (0)

static int refuse(void) {
  errno = (int)commands->error;
  return -1;
}

#define WRITES(name, offset)                                                                     \
  ssize_t name(int file, const void *from, size_t size, offset at) {                             \
    FAULTY(WRITE, file, REAL(name)(file, from, size, at), REAL(name)(file, from, size / 2, at)); \
  }
#define READS(name, offset)                                                                   \
  ssize_t name(int file, void *to, size_t size, offset at) {                                  \
    FAULTY(READ, file, REAL(name)(file, to, size, at), REAL(name)(file, to, size / 2, at));   \
  }
#define SYNCS(name)                                  \
  int name(int file) {                               \
    FAULTY(SYNC, file, REAL(name)(file), refuse());  \
  }
#define TRUNCATES(name, offset)                                 \
  int name(int file, offset size) {                             \
    FAULTY(TRUNCATE, file, REAL(name)(file, size), refuse());   \
  }

WRITES(pwrite, off_t)
WRITES(pwrite64, off64_t)
READS(pread, off_t)
READS(pread64, off64_t)
SYNCS(fsync)
SYNCS(fdatasync)
TRUNCATES(ftruncate, off_t)
TRUNCATES(ftruncate64, off64_t)

ssize_t write(int file, const void *from, size_t size) {
  FAULTY(WRITE, file, REAL(write)(file, from, size), REAL(write)(file, from, size / 2));
}

ssize_t read(int file, void *to, size_t size) {
  FAULTY(READ, file, REAL(read)(file, to, size), REAL(read)(file, to, size / 2));
}

/* If set, called once before a file is unmapped: SQLite does that inside a checkpoint. */
void (*before_unmap)(void);

int munmap(void *at, size_t size) {
  if (before_unmap) {
    void (*call)(void) = before_unmap;
    before_unmap = NULL;
    call();
  }
  return REAL(munmap)(at, size);
}
