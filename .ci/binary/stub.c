/* bin/python3.11 of the runtime: runs the real interpreter under the loader and the libraries beside it, so that
 * sys.executable is a program that can be started (subprocess, multiprocessing) on a machine without any libc. */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

int main(int argc, char **argv) {
    char self[PATH_MAX], root[PATH_MAX], loader[PATH_MAX + 64], path[2 * PATH_MAX + 64], real[PATH_MAX + 64];
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    if (size > 0) {
        self[size] = 0;
    } else { /* no /proc */
        const char *called = (const char *)getauxval(AT_EXECFN);
        if (!called || !realpath(called, self)) return fputs("chainops: cannot find myself: mount /proc\n", stderr), 70;
    }
    strcpy(root, self);
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(root, '/');
        if (slash) *slash = 0;
    }
    snprintf(loader, sizeof loader, "%s/glibc/ld-linux-x86-64.so.2", root);
    snprintf(path, sizeof path, "%s/glibc:%s/lib", root, root);
    snprintf(real, sizeof real, "%s.real", self);
    char **args = calloc((size_t)argc + 8, sizeof *args), **next = args;
    if (!args) return 70;
    *next++ = loader;
    *next++ = "--argv0", *next++ = self;
    *next++ = "--library-path", *next++ = path;
    *next++ = real;
    for (int i = 1; i < argc; i++) *next++ = argv[i];
    execv(loader, args);
    fprintf(stderr, "chainops: cannot start %s: %s\n", loader, strerror(errno));
    return 70;
}
