/*
 * The kernel's announcements of devices (netlink, kobject uevents), so that waiting for a device is
 * waiting for an event.
 */
#pragma once

#include <stdint.h>

/* A non-blocking socket that becomes readable with every announcement, or -1 with errno. */
int uevent_open(void);

/* Throw away what has been announced: callers look at the devices themselves. */
void uevent_drain(int fd);

/* Wait for an announcement, no later than `deadline_ms` of now_ms(). 1 came, 0 deadline. */
int uevent_wait(int fd, uint64_t deadline_ms);
