#include "port.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/wire.h"
#include "base.h"
#include "uevent.h"

#define PORTS "/sys/class/virtio-ports"

static int open_if_ours(const char *device)
{
	char path[300], name[64];

	(void)snprintf(path, sizeof(path), PORTS "/%s/name", device);
	if (read_text(path, name, sizeof(name)) < 0 || strcmp(name, WIRE_PORT_NAME) != 0)
		return -1;
	(void)snprintf(path, sizeof(path), "/dev/%s", device);
	return open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
}

int port_open(int devices)
{
	struct dirent *entry;
	int fd = -1;
	DIR *ports;

	uevent_drain(devices);
	ports = opendir(PORTS);
	if (!ports)
		return -1;
	while (fd < 0 && (entry = readdir(ports)) != NULL)
		if (entry->d_name[0] != '.')
			fd = open_if_ours(entry->d_name);
	(void)closedir(ports);
	return fd;
}

void port_notify(int fd, int on)
{
	int flags = fcntl(fd, F_GETFL);

	(void)fcntl(fd, F_SETOWN, getpid());
	(void)fcntl(fd, F_SETFL, on ? flags | O_ASYNC : flags & ~O_ASYNC);
}
