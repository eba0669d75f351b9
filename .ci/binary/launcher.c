/* The one file: [this program][payload: tar in zstd][tail]. Unpacks the payload once, then becomes the Python in it.
 *
 * Unpacked runtimes lie in <base>/rt-<hash of the payload>. A runtime appears under its name only when it is whole and
 * its hash was checked; one lock keeps copies from unpacking at once; what a killed one left is removed by the next.
 * Each running process holds a shared lock on its runtime: older ones that nobody runs are removed with the next unpack.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <zstd.h>

#include "sha256.h"

#define TAR_BLOCK 512

struct tail {
    uint64_t offset, length, unpacked; /* bytes; little endian, as the machine */
    char sha256[64], magic[8];
};

static int self_fd;
static struct tail tail;
static char partial[PATH_MAX]; /* what to remove when unpacking fails */

static void remove_tree(const char *path);

static void fail(const char *hint, const char *format, ...) {
    va_list values;
    va_start(values, format);
    fputs("error: ", stderr);
    vfprintf(stderr, format, values);
    fprintf(stderr, " [setup.runtime]\n  hint: %s\n", hint);
    va_end(values);
    if (*partial) remove_tree(partial);
    exit(2);
}

static void fail_on(const char *path) {
    int why = errno;
    const char *hint = why == ENOSPC || why == EDQUOT
                           ? "Free some room, or set CHAINOPS_RUNTIME_DIR to a folder on another disk."
                           : "Set CHAINOPS_RUNTIME_DIR to a folder that you can write in.";
    fail(hint, "Cannot unpack to %s: %s", path, strerror(why));
}

static void join(char *out, const char *format, ...) {
    va_list values;
    va_start(values, format);
    int size = vsnprintf(out, PATH_MAX, format, values);
    va_end(values);
    if (size < 0 || size >= PATH_MAX) fail("Set CHAINOPS_RUNTIME_DIR to a shorter path.", "A path is too long");
}

static void remove_tree(const char *path) {
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        char inner[PATH_MAX];
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if (snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name) >= (int)sizeof inner) continue;
        if (unlink(inner) && (errno == EISDIR || errno == EPERM)) remove_tree(inner);
    }
    if (dir) closedir(dir);
    rmdir(path);
}

/* ---- the payload as a stream ---- */

static ZSTD_DStream *zstd;
static uint8_t *payload, *plain;
static size_t plain_room, plain_at;
static ZSTD_inBuffer in;
static ZSTD_outBuffer out;

static void damaged(const char *how) {
    fail("Copy the file again, and compare its SHA-256 with the one it was delivered with.", "This file is damaged: %s",
         how);
}

static void *hash_payload(void *hex) { /* beside the unpacking: as much work again */
    struct sha256 hash;
    sha256_begin(&hash);
    sha256_add(&hash, payload, tail.length);
    sha256_end(&hash, hex);
    return NULL;
}

static void open_payload(void) {
    size_t whole = tail.offset + tail.length;
    uint8_t *file = mmap(NULL, whole, PROT_READ, MAP_PRIVATE, self_fd, 0);
    if (file == MAP_FAILED) damaged(strerror(errno));
    madvise(file, whole, MADV_SEQUENTIAL);
    payload = file + tail.offset;
    zstd = ZSTD_createDStream();
    plain_room = ZSTD_DStreamOutSize(), plain = malloc(plain_room);
    if (!zstd || !plain) fail("Free some memory.", "There is not enough memory to unpack");
    ZSTD_DCtx_setParameter(zstd, ZSTD_d_windowLogMax, 27);
    in = (ZSTD_inBuffer){payload, tail.length, 0};
}

static size_t take(void *to, size_t wanted) {
    size_t done = 0;
    while (done < wanted) {
        if (plain_at < out.pos) {
            size_t part = out.pos - plain_at < wanted - done ? out.pos - plain_at : wanted - done;
            memcpy((char *)to + done, plain + plain_at, part);
            plain_at += part, done += part;
            continue;
        }
        size_t before = in.pos;
        out = (ZSTD_outBuffer){plain, plain_room, 0}, plain_at = 0;
        size_t result = ZSTD_decompressStream(zstd, &out, &in);
        if (ZSTD_isError(result)) damaged(ZSTD_getErrorName(result));
        if (!out.pos && in.pos == before) return done; /* nothing left in it */
    }
    return done;
}

static void need(void *to, size_t wanted) {
    if (take(to, wanted) != wanted) damaged("its payload ends too early");
}

/* ---- tar, as seal.py writes it: folders, files, symbolic links, GNU long names ---- */

static uint64_t octal(const char *text, int size) {
    uint64_t value = 0;
    for (int i = 0; i < size && text[i]; i++)
        if (text[i] >= '0' && text[i] <= '7') value = value * 8 + (uint64_t)(text[i] - '0');
    return value;
}

static void long_name(char *to, uint64_t size) {
    char block[TAR_BLOCK];
    if (size >= PATH_MAX) damaged("a name is too long");
    for (uint64_t at = 0; at < size; at += TAR_BLOCK) {
        need(block, TAR_BLOCK);
        memcpy(to + at, block, size - at < TAR_BLOCK ? (size_t)(size - at) : TAR_BLOCK);
    }
    to[size] = 0;
}

static void write_file(const char *path, uint64_t size, mode_t mode) {
    static char buffer[1 << 16];
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (file < 0) fail_on(path);
    for (uint64_t left = size; left;) {
        size_t part = left < sizeof buffer ? (size_t)left : sizeof buffer;
        need(buffer, part);
        for (size_t at = 0; at < part;) {
            ssize_t done = write(file, buffer + at, part - at);
            if (done < 0) fail_on(path);
            at += (size_t)done;
        }
        left -= part;
    }
    if (close(file)) fail_on(path);
    if (size % TAR_BLOCK) need(buffer, TAR_BLOCK - size % TAR_BLOCK);
}

static void unpack(const char *to) {
    char header[TAR_BLOCK], name[PATH_MAX], path[PATH_MAX], longer[PATH_MAX + TAR_BLOCK] = "";
    char found[65];
    pthread_t hashing;
    open_payload();
    if (pthread_create(&hashing, NULL, hash_payload, found)) fail("Free some memory.", "Cannot start a thread");
    while (take(header, TAR_BLOCK) == TAR_BLOCK && header[0]) {
        uint64_t size = octal(header + 124, 12);
        if (header[156] == 'L') {
            long_name(longer, size);
            continue;
        }
        if (*longer)
            join(name, "%s", longer);
        else
            join(name, "%.100s", header);
        *longer = 0;
        if (*name == '/' || strstr(name, "..") == name || strstr(name, "/../")) damaged("a name leads outside");
        join(path, "%s/%s", to, name);
        char link[101] = "";
        memcpy(link, header + 157, 100);
        if (header[156] == '5') {
            if (mkdir(path, 0755) && errno != EEXIST) fail_on(path);
        } else if (header[156] == '2') {
            if (symlink(link, path)) fail_on(path);
        } else if (header[156] == '0') {
            write_file(path, size, octal(header + 100, 8) & 0755);
        } else {
            damaged("it holds something unknown");
        }
    }
    pthread_join(hashing, NULL);
    if (memcmp(found, tail.sha256, 64)) damaged("its SHA-256 is another");
}

/* ---- where to ---- */

static int make_folders(char *path, mode_t mode) {
    for (char *at = path + 1;; at++) {
        char was = *at;
        if (was != '/' && was) continue;
        *at = 0;
        int why = mkdir(path, mode) ? errno : 0;
        int failed = why && why != EEXIST && access(path, X_OK);
        *at = was;
        if (failed) return errno = why, -1;
        if (!was) return 0;
    }
}

/* 0 when runtimes can be made or found in `base`; else errno says why not. */
static int usable(char *base, mode_t mode) {
    struct stat found;
    if (make_folders(base, mode) || stat(base, &found)) return -1;
    if (!S_ISDIR(found.st_mode)) return errno = ENOTDIR, -1;
    if (found.st_uid != geteuid() && found.st_uid != 0) return errno = EPERM, -1;
    if (found.st_mode & 022) return errno = EPERM, -1;
    return 0;
}

static void choose_base(char *base) {
    const char *named = getenv("CHAINOPS_RUNTIME_DIR"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char runtime[PATH_MAX];
    if (named && *named) {
        join(base, "%s", named);
        if (!usable(base, geteuid() ? 0700 : 0755)) return; /* what root unpacks is for everybody */
        if (errno == EPERM)
            fail("Use a folder that belongs to you and that nobody else can write in (chmod 700).",
                 "The folder %s could be changed by others", base);
        fail("Set CHAINOPS_RUNTIME_DIR to a folder that you can write in.", "Cannot use the folder %s: %s", base,
             strerror(errno));
    }
    for (int place = 0; place < 3; place++) {
        if (place == 0 && (!cache || *cache != '/')) continue;
        if (place == 1 && (!home || *home != '/')) continue;
        if (place == 0) join(base, "%s/chainops", cache);
        if (place == 1) join(base, "%s/.cache/chainops", home);
        if (place == 2) join(base, "/var/tmp/chainops-%u", (unsigned)geteuid());
        if (usable(base, 0700)) continue;
        join(runtime, "%s/rt-%.32s", base, tail.sha256);
        if (!access(base, W_OK) || !access(runtime, X_OK)) return;
    }
    fail("Set CHAINOPS_RUNTIME_DIR to a folder that you can write in.",
         "There is no folder to unpack to: neither the cache of your home nor /var/tmp can be written");
}

static void check_room(const char *base) {
    struct statvfs disk;
    if (statvfs(base, &disk)) return;
    if (disk.f_flag & ST_NOEXEC)
        fail("Set CHAINOPS_RUNTIME_DIR to a folder on a disk that allows programs.",
             "%s is on a disk that is mounted noexec", base);
    uint64_t free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
    if (free_bytes < tail.unpacked)
        fail("Free some room, or set CHAINOPS_RUNTIME_DIR to a folder on another disk.",
             "Not enough room to unpack to %s: %llu MB needed, %llu MB free", base,
             (unsigned long long)(tail.unpacked >> 20) + 1, (unsigned long long)(free_bytes >> 20));
}

/* Under the lock: what killed copies left, and older runtimes that nobody runs. */
static void clean(const char *base, const char *mine) {
    DIR *dir = opendir(base);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        char path[PATH_MAX], in_use[PATH_MAX];
        if (strncmp(entry->d_name, "rt-", 3) || !strcmp(entry->d_name, mine)) continue;
        join(path, "%s/%s", base, entry->d_name);
        join(in_use, "%s/.in-use", path);
        int held = open(in_use, O_RDONLY | O_CLOEXEC);
        int running = !strchr(entry->d_name, '.') && held >= 0 && flock(held, LOCK_EX | LOCK_NB);
        if (!running) remove_tree(path);
        if (held >= 0) close(held);
    }
    if (dir) closedir(dir);
}

static void make_runtime(const char *base, const char *runtime) {
    char lock_path[PATH_MAX];
    join(lock_path, "%s/.lock", base);
    int lock = open(lock_path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (lock < 0) fail_on(lock_path);
    while (flock(lock, LOCK_EX))
        if (errno != EINTR) fail_on(lock_path);
    if (access(runtime, F_OK)) {
        clean(base, strrchr(runtime, '/') + 1);
        check_room(base);
        join(partial, "%s.%d", runtime, getpid());
        if (mkdir(partial, 0755)) fail_on(partial);
        unpack(partial);
        int made = open(partial, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (made < 0 || syncfs(made)) fail_on(partial); /* else a power cut leaves a whole name with empty files */
        close(made);
        if (rename(partial, runtime)) fail_on(runtime);
        *partial = 0;
    }
    close(lock);
}

/* A shared lock that lives as long as this process, also after exec. */
static int hold(const char *runtime) {
    char in_use[PATH_MAX];
    struct stat held, there;
    join(in_use, "%s/.in-use", runtime);
    int file = open(in_use, O_RDONLY);
    if (file < 0 || flock(file, LOCK_SH)) return -1;
    if (!fstat(file, &held) && !stat(in_use, &there) && held.st_ino == there.st_ino) return 0;
    close(file);
    return -1;
}

static void find_myself(char *self) {
    ssize_t size = readlink("/proc/self/exe", self, PATH_MAX - 1);
    if (size > 0) {
        self[size] = 0;
        return;
    }
    const char *called = (const char *)getauxval(AT_EXECFN); /* no /proc */
    if (!called || !realpath(called, self)) fail("Mount /proc.", "Cannot find the file that I am");
}

int main(int argc, char **argv) {
    char self[PATH_MAX], base[PATH_MAX], runtime[PATH_MAX], loader[PATH_MAX], python[PATH_MAX], real[PATH_MAX];
    char libraries[2 * PATH_MAX + 16];
    struct stat about;
    mode_t mask = umask(022);
    if (!__builtin_cpu_supports("x86-64-v2"))
        fail("Use a machine with a processor of 2009 or later.", "This processor lacks instructions of x86-64-v2");
    find_myself(self);
    self_fd = open(self, O_RDONLY | O_CLOEXEC);
    if (self_fd < 0 || fstat(self_fd, &about)) fail("Make the file readable (chmod +r).", "Cannot read %s", self);
    if (pread(self_fd, &tail, sizeof tail, about.st_size - (off_t)sizeof tail) != sizeof tail ||
        memcmp(tail.magic, "CHAINOPS", 8) || tail.offset + tail.length + sizeof tail != (uint64_t)about.st_size)
        damaged("its end is missing");
    choose_base(base);
    join(runtime, "%s/rt-%.32s", base, tail.sha256);
    for (int attempt = 0; access(runtime, F_OK) || hold(runtime); attempt++) {
        if (attempt == 5) fail("Remove the folder, and start again.", "The runtime in %s is not whole", runtime);
        make_runtime(base, runtime);
    }
    join(loader, "%s/glibc/ld-linux-x86-64.so.2", runtime);
    join(python, "%s/bin/python3.11", runtime);
    join(real, "%s/bin/python3.11.real", runtime);
    snprintf(libraries, sizeof libraries, "%s/glibc:%s/lib", runtime, runtime);
    const char *quiet[][2] = {{"NEMO_GUARDRAILS_NO_USAGE_STATS", "1"}, {"DO_NOT_TRACK", "1"}, {"HF_HUB_OFFLINE", "1"},
                              {"HF_HUB_DISABLE_TELEMETRY", "1"}, {"LANGSMITH_TRACING", "false"},
                              {"ORT_DISABLE_TELEMETRY", "1"},
                              {"PIP_DISABLE_PIP_VERSION_CHECK", "1"}};
    for (size_t i = 0; i < sizeof quiet / sizeof *quiet; i++) setenv(quiet[i][0], quiet[i][1], 0);
    setenv("CHAINOPS_EXE", self, 1);
    char **args = calloc((size_t)argc + 12, sizeof *args), **next = args;
    if (!args) fail("Free some memory.", "There is not enough memory to start");
    *next++ = loader;
    *next++ = "--argv0", *next++ = python;
    *next++ = "--library-path", *next++ = libraries;
    *next++ = real;
    *next++ = "-I", *next++ = "-X", *next++ = "utf8", *next++ = "-m", *next++ = "chainops";
    for (int i = 1; i < argc; i++) *next++ = argv[i];
    umask(mask);
    execv(loader, args);
    if (errno == EACCES)
        fail("Set CHAINOPS_RUNTIME_DIR to a folder on a disk that allows programs.",
             "%s cannot be run: is its disk mounted noexec?", loader);
    fail("Remove the folder of the runtime, and start again.", "Cannot start %s: %s", loader, strerror(errno));
}
