/*
 * The channel's device: the virtio-serial port named WIRE_PORT_NAME.
 */
#pragma once

/*
 * Open the port, non-blocking. `devices` is uevent_open()'s fd: announcements are drained before
 * looking, so that none is missed between looking and waiting. -1 when there is no such port now.
 */
int port_open(int devices);

/*
 * While no host is connected poll(2) reports POLLHUP at once, so it cannot be waited for. With
 * notification on, the kernel sends SIGIO when a host comes.
 */
void port_notify(int fd, int on);
