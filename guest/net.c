#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <net/route.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base.h"
#include "cmdline.h"
#include "uevent.h"

#define INTERFACE_PATIENCE_MS 3000

enum {
	FIELD_CLIENT,
	FIELD_SERVER,
	FIELD_GATEWAY,
	FIELD_NETMASK,
	FIELD_HOSTNAME,
	FIELD_DEVICE,
	FIELD_AUTOCONF,
	FIELD_DNS0,
	FIELD_DNS1,
	FIELD_COUNT
};

bool net_parse_boot_parameter(const char *cmdline, NetConfig *out_config)
{
	char text[256], *fields[FIELD_COUNT] = { 0 }, *rest = text;
	NetConfig config = { 0 };

	if (!cmdline_value(cmdline, "ip", text, sizeof(text)))
		return false;
	for (int i = 0; i < FIELD_COUNT && rest; i++)
		fields[i] = strsep(&rest, ":");
	(void)inet_pton(AF_INET, fields[FIELD_CLIENT], &config.address);
	if (fields[FIELD_GATEWAY])
		(void)inet_pton(AF_INET, fields[FIELD_GATEWAY], &config.gateway);
	if (!fields[FIELD_NETMASK] ||
	    inet_pton(AF_INET, fields[FIELD_NETMASK], &config.netmask) != 1)
		config.netmask.s_addr = htonl(0xffffff00);
	if (fields[FIELD_HOSTNAME])
		(void)snprintf(config.hostname, sizeof(config.hostname), "%s",
			       fields[FIELD_HOSTNAME]);
	(void)snprintf(config.device, sizeof(config.device), "%s",
		       fields[FIELD_DEVICE] && fields[FIELD_DEVICE][0] ? fields[FIELD_DEVICE]
								       : "eth0");
	for (int i = 0; i < 2; i++)
		if (fields[FIELD_DNS0 + i])
			(void)inet_pton(AF_INET, fields[FIELD_DNS0 + i], &config.dns[i]);
	*out_config = config;
	return config.address.s_addr || config.hostname[0] != '\0';
}

static struct ifreq request_for(const char *device)
{
	struct ifreq request = { 0 };

	(void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", device);
	return request;
}

static int set_up(int control, const char *device)
{
	struct ifreq request = request_for(device);

	if (ioctl(control, SIOCGIFFLAGS, &request) < 0)
		return -1;
	request.ifr_flags |= IFF_UP | IFF_RUNNING;
	return ioctl(control, SIOCSIFFLAGS, &request);
}

static int set_address(int control, unsigned long what, const char *device, struct in_addr value)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = value };
	struct ifreq request = request_for(device);

	memcpy(&request.ifr_addr, &address, sizeof(address));
	return ioctl(control, what, &request);
}

static int add_default_route(int control, struct in_addr gateway)
{
	struct sockaddr_in any = { .sin_family = AF_INET };
	struct sockaddr_in via = { .sin_family = AF_INET, .sin_addr = gateway };
	struct rtentry route = { .rt_flags = RTF_UP | RTF_GATEWAY };

	memcpy(&route.rt_dst, &any, sizeof(any));
	memcpy(&route.rt_genmask, &any, sizeof(any));
	memcpy(&route.rt_gateway, &via, sizeof(via));
	if (ioctl(control, SIOCADDRT, &route) < 0 && errno != EEXIST)
		return -1;
	return 0;
}

void net_loopback_up(void)
{
	auto_fd control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (control >= 0)
		(void)set_up(control, "lo");
}

/* Drivers find their devices while we are already running. */
static bool wait_for_interface(const char *device)
{
	uint64_t deadline = now_ms() + INTERFACE_PATIENCE_MS;
	auto_fd events = uevent_open();

	while (if_nametoindex(device) == 0)
		if (events < 0 || !uevent_wait(events, deadline))
			return false;
	return true;
}

static int configure_interface(int control, const NetConfig *config)
{
	struct ifreq present = request_for(config->device);

	if (ioctl(control, SIOCGIFADDR, &present) == 0)
		return 0; /* the kernel did it */
	if (set_address(control, SIOCSIFADDR, config->device, config->address) < 0 ||
	    set_address(control, SIOCSIFNETMASK, config->device, config->netmask) < 0 ||
	    set_up(control, config->device) < 0)
		return -1;
	return config->gateway.s_addr ? add_default_route(control, config->gateway) : 0;
}

static void write_resolv_conf(const NetConfig *config)
{
	char text[128], address[INET_ADDRSTRLEN];
	size_t used = 0;

	for (int i = 0; i < 2; i++)
		if (config->dns[i].s_addr)
			used += (size_t)snprintf(
				text + used, sizeof(text) - used, "nameserver %s\n",
				inet_ntop(AF_INET, &config->dns[i], address, sizeof(address)));
	if (used > 0)
		(void)replace_file("/run/ember/resolv.conf", text, 0644);
}

void net_configure(const NetConfig *config)
{
	auto_fd control = -1;

	if (!config->address.s_addr)
		return;
	write_resolv_conf(config);
	control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (control < 0 || !wait_for_interface(config->device))
		complain("there is no network interface %s", config->device);
	else if (configure_interface(control, config) < 0)
		complain("cannot configure %s: %s", config->device, strerror(errno));
}
