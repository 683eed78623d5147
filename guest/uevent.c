#include "uevent.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "base.h"

/* From linux/netlink.h, which musl does not ship. */
#define NETLINK_KOBJECT_UEVENT 15
#define KERNEL_GROUP	       1

struct netlink_address {
	sa_family_t family;
	uint16_t pad;
	uint32_t port;
	uint32_t groups;
};

int uevent_open(void)
{
	struct netlink_address address = { .family = AF_NETLINK, .groups = KERNEL_GROUP };
	auto_fd fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
			    NETLINK_KOBJECT_UEVENT);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -1;
	return steal_fd(&fd);
}

void uevent_drain(int fd)
{
	char message[64];

	/* ENOBUFS tells of lost announcements once; there may be more to drain behind it. */
	while (recv(fd, message, sizeof(message), MSG_TRUNC) >= 0 || errno == ENOBUFS)
		;
}

int uevent_wait(int fd, uint64_t deadline_ms)
{
	struct pollfd watch = { .fd = fd, .events = POLLIN };
	uint64_t now = now_ms();

	if (now >= deadline_ms || poll(&watch, 1, (int)(deadline_ms - now)) <= 0)
		return 0;
	uevent_drain(fd);
	return 1;
}
