/* Lets the real xenstored serve domains where there is no Xen: it stands in for the hypervisor, which
 * gives xenstored the ring page of each domain and tells it of events. Here a page is the file ring.N
 * in $XENSTORED_RUNDIR, and a byte in the FIFO `events` there is an event.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static int inside(const char *name, int flags)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", getenv("XENSTORED_RUNDIR"), name);
    return syscall(SYS_openat, AT_FDCWD, path, flags, 0600);
}

int open(const char *path, int flags, ...)
{
    va_list more;
    int mode;
    va_start(more, flags);
    mode = va_arg(more, int);
    va_end(more);
    if (!strcmp(path, "/proc/xen/xsd_port")) return inside("port", O_RDONLY);
    if (!strcmp(path, "/proc/xen/xsd_kva")) return inside("ring.0", O_RDWR);
    return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

void *xc_interface_open(void *logger, void *logger2, unsigned flags) { return calloc(1, 64); }
int xc_interface_close(void *handle) { return 0; }
int xc_domain_getinfo(void *handle, uint32_t domid, unsigned most, uint32_t *info)
{
    memset(info, 0, 64); /* its head: the number, then flags such as dying */
    *info = domid;
    return 1;
}

void *xengnttab_open(void *logger, unsigned flags) { return calloc(1, 64); }
int xengnttab_close(void *handle) { return 0; }
int xengnttab_set_max_grants(void *handle, uint32_t most) { return 0; }
void *xengnttab_map_grant_ref(void *handle, uint32_t domid, uint32_t ref, int access)
{
    char name[32];
    int page;
    snprintf(name, sizeof name, "ring.%u", domid);
    page = inside(name, O_RDWR);
    return page < 0 ? NULL : mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, page, 0);
}
int xengnttab_unmap(void *handle, void *page, uint32_t count) { return munmap(page, 4096); }

static int events;
void *xenevtchn_open(void *logger, unsigned flags)
{
    events = inside("events", O_RDWR | O_NONBLOCK);
    return calloc(1, 64);
}
int xenevtchn_fd(void *handle) { return events; }
int xenevtchn_bind_virq(void *handle, unsigned virq) { return 1; }
int xenevtchn_bind_interdomain(void *handle, uint32_t domid, uint32_t port) { return 2; }
int xenevtchn_unbind(void *handle, uint32_t port) { return 0; }
int xenevtchn_unmask(void *handle, uint32_t port) { return 0; }
int xenevtchn_notify(void *handle, uint32_t port) { return 0; }
int xenevtchn_pending(void *handle)
{
    char event;
    return read(events, &event, 1) == 1 ? 2 : -1;
}
