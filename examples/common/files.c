/* files.c - see files.h */

#define _DEFAULT_SOURCE
#define _POSIX_C_SOURCE 200809L

#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- text -------------------------------------------------------------------------------------------------- */

static bool text_room(ex_text *t, size_t more)
{
    size_t room;
    char *data;

    if (t->failed || more > SIZE_MAX / 4 || t->size > SIZE_MAX / 4) t->failed = true;
    if (t->failed) return false;
    if (t->size + more + 1 <= t->room) return true;
    room = t->room + t->room / 2 + more + 256;
    data = realloc(t->data, room);
    if (!data) {
        t->failed = true;
        return false;
    }
    t->data = data;
    t->room = room;
    return true;
}

void ex_text_add(ex_text *t, const void *bytes, size_t size)
{
    if (!text_room(t, size)) return;
    if (size) memcpy(t->data + t->size, bytes, size);
    t->size += size;
    t->data[t->size] = '\0';
}

void ex_text_printf(ex_text *t, const char *format, ...)
{
    va_list values;
    int need;

    va_start(values, format);
    need = vsnprintf(NULL, 0, format, values);
    va_end(values);
    if (need < 0) t->failed = true;
    if (need < 0 || !text_room(t, (size_t)need)) return;
    va_start(values, format);
    vsnprintf(t->data + t->size, (size_t)need + 1, format, values);
    va_end(values);
    t->size += (size_t)need;
}

void ex_text_free(ex_text *t)
{
    free(t->data);
    memset(t, 0, sizeof *t);
}

void ex_text_escape(ex_text *to, const char *text)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

    for (; *text; text++) {
        if (strchr(plain, *text)) ex_text_add(to, text, 1);
        else ex_text_printf(to, "%%%02X", (unsigned)(unsigned char)*text);
    }
}

/* ---- signals ----------------------------------------------------------------------------------------------- */

static int holds;
static sigset_t mask_before;

void ex_signals_hold(void)
{
    sigset_t set;

    if (holds++ > 0) return;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGXFSZ); /* over the file size limit: then write() says so */
    sigprocmask(SIG_BLOCK, &set, &mask_before);
}

void ex_signals_release(void)
{
    static const struct timespec at_once = { 0, 0 };
    sigset_t limit;

    if (--holds > 0) return;
    if (!sigismember(&mask_before, SIGXFSZ)) { /* write() has told of it already */
        sigemptyset(&limit);
        sigaddset(&limit, SIGXFSZ);
        while (sigtimedwait(&limit, NULL, &at_once) > 0) {}
    }
    sigprocmask(SIG_SETMASK, &mask_before, NULL);
}

/* ---- whole files ------------------------------------------------------------------------------------------- */

bool ex_file_read(const char *path, size_t limit_bytes, ex_text *out)
{
    struct stat about;
    ssize_t got = 1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &about) != 0) {
        ex_fail("cannot read %s: %s", path, strerror(errno));
        if (fd >= 0) close(fd);
        return false;
    }
    if (S_ISDIR(about.st_mode)) {
        ex_fail("cannot read %s: it is a folder", path);
        close(fd);
        return false;
    }
    if (S_ISREG(about.st_mode) && (uintmax_t)about.st_size <= limit_bytes) text_room(out, (size_t)about.st_size + 1);
    while (got > 0 && out->size <= limit_bytes && text_room(out, 65536)) {
        got = read(fd, out->data + out->size, 65536);
        if (got < 0 && errno == EINTR) got = 1;
        else if (got > 0) out->size += (size_t)got;
    }
    if (got < 0) ex_fail("cannot read %s: %s", path, strerror(errno));
    else if (out->failed) ex_fail("cannot read %s: out of memory", path);
    else if (out->size > limit_bytes) ex_fail("cannot read %s: larger than %zu bytes", path, limit_bytes);
    close(fd);
    if (got < 0 || out->failed || out->size > limit_bytes) {
        ex_text_free(out);
        return false;
    }
    out->data[out->size] = '\0';
    return true;
}

/* 0, or errno. */
static int write_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t wrote = write(fd, bytes, size < (1u << 30) ? size : (1u << 30));
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) return wrote ? errno : ENOSPC;
        bytes += wrote;
        size -= (size_t)wrote;
    }
    return 0;
}

static int put_whole(const char *path, const void *bytes, size_t size, mode_t mode, bool synced)
{
    ex_path part;
    int fd, error, length = snprintf(part.text, sizeof part.text, "%s.%ld.part", path, (long)getpid());

    if (!*path) return ENOENT;
    if (length < 0 || (size_t)length >= sizeof part.text) return ENAMETOOLONG;
    unlink(part.text); /* of one that died with the same number */
    fd = open(part.text, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0) return errno;
    error = write_all(fd, bytes, size);
    if (!error && synced && fsync(fd) != 0) error = errno;
    if (close(fd) != 0 && !error) error = errno;
    if (!error && rename(part.text, path) != 0) error = errno;
    if (error) unlink(part.text);
    return error;
}

int ex_file_replace(const char *path, const void *bytes, size_t size, mode_t mode)
{
    return put_whole(path, bytes, size, mode, false);
}

/* The folder that path is in, "." if it names none. */
static ex_path folder_of(const char *path)
{
    ex_path folder = { "." };
    const char *slash = strrchr(path, '/');

    if (slash == path) snprintf(folder.text, sizeof folder.text, "/");
    else if (slash) snprintf(folder.text, sizeof folder.text, "%.*s", (int)(slash - path), path);
    return folder;
}

/* Some file systems cannot sync a folder (EINVAL); the rename is then as safe as it gets. */
static bool sync_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok;

    if (fd < 0) return errno == EACCES; /* a folder one may write into but not list */
    ok = fsync(fd) == 0 || errno == EINVAL;
    close(fd);
    return ok;
}

bool ex_file_write(const char *path, const void *bytes, size_t size)
{
    struct stat about;
    int error;

    if (!*path || strlen(path) + 32 > sizeof(ex_path)) {
        ex_fail("cannot write %.80s: the path is %s", path, *path ? "too long" : "empty or too long");
        return false;
    }
    if (stat(path, &about) == 0 && S_ISDIR(about.st_mode)) {
        ex_fail("cannot write %s: it is a folder", path);
        return false;
    }
    ex_signals_hold();
    error = put_whole(path, bytes, size, 0666, true);
    if (!error && !sync_folder(folder_of(path).text)) error = errno;
    ex_signals_release();
    if (error) ex_fail("cannot write %s: %s", path, strerror(error));
    return error == 0;
}

bool ex_text_write(const ex_text *t, const char *path)
{
    if (t->failed) {
        ex_fail("cannot write %s: its text is incomplete (out of memory or wrongly nested)", path);
        return false;
    }
    return ex_file_write(path, t->data, t->size);
}

/* ---- folders ----------------------------------------------------------------------------------------------- */

ex_path ex_path_join(const char *folder, const char *name)
{
    ex_path path;
    size_t length = strlen(folder);
    const char *between = length && folder[length - 1] != '/' ? "/" : "";
    int wrote = snprintf(path.text, sizeof path.text, "%s%s%s", folder, between, name);

    if (wrote < 0 || (size_t)wrote >= sizeof path.text) path.text[0] = '\0';
    return path;
}

bool ex_folder_make(const char *path)
{
    ex_path part;
    struct stat about;
    size_t i, length = strlen(path);
    int error = 0;

    if (length == 0 || length >= sizeof part.text) {
        ex_fail("cannot make the folder '%.80s': its path is %s", path, length ? "too long" : "empty");
        return false;
    }
    for (i = 1; i <= length && !error; i++) {
        if (path[i] != '/' && path[i] != '\0') continue;
        snprintf(part.text, sizeof part.text, "%.*s", (int)i, path);
        if (mkdir(part.text, 0777) == 0 || errno == EEXIST || errno == EISDIR) continue;
        error = errno;
        if (stat(part.text, &about) == 0 && S_ISDIR(about.st_mode)) error = 0; /* there, on a read-only system */
    }
    if (!error && stat(path, &about) != 0) error = errno;
    if (!error && !S_ISDIR(about.st_mode)) error = ENOTDIR;
    if (error) ex_fail("cannot make the folder %s: %s", path, strerror(error));
    return error == 0;
}

bool ex_folder_lock(const char *path, ex_lock *out)
{
    out->fd = -1;
    if (!ex_folder_make(path)) return false;
    if (access(path, W_OK | X_OK) != 0) {
        ex_fail("cannot write into the folder %s: %s", path, strerror(errno));
        return false;
    }
    out->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (out->fd < 0) {
        ex_fail("cannot open the folder %s: %s", path, strerror(errno));
        return false;
    }
    if (flock(out->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        ex_fail("another program is writing into the folder %s; wait for it or choose another", path);
        close(out->fd);
        out->fd = -1;
        return false;
    }
    return true;
}

void ex_folder_unlock(ex_lock *lock)
{
    if (lock->fd >= 0) close(lock->fd);
    lock->fd = -1;
}
