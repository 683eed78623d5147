/*
 * The address that the host gave this machine, by the kernel's ip= parameter
 * (Documentation/admin-guide/nfs/nfsroot.rst):
 *
 *	ip=CLIENT:SERVER:GATEWAY:NETMASK:HOSTNAME:DEVICE:AUTOCONF:DNS0:DNS1
 *
 * Kernels with IP_PNP apply it before init runs; others (Debian's) leave it to us.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>

typedef struct NetConfig {
	struct in_addr address, gateway, netmask, dns[2]; /* 0.0.0.0: not given */
	char hostname[64];
	char device[16];
} NetConfig;

/* False when there is no ip= that gives an address or a host name (ip=::::NAME::off is the latter). */
bool net_parse_boot_parameter(const char *cmdline, NetConfig *out_config);

/* The loopback interface, always. */
void net_loopback_up(void);

/*
 * Give the interface its address and default route, unless it has an address already, and write
 * /run/ember/resolv.conf. Waits a moment for an interface that is not there yet. Without an address
 * in `config` there is nothing to do.
 */
void net_configure(const NetConfig *config);
