/*
 * User-mode network: QEMU's built-in slirp. No root, no device on the host; the guest sees one fixed address behind a
 * NAT inside the QEMU process.
 *
 * Addresses are slirp's defaults (QEMU's documentation, "Using the user mode network stack").
 */
#include "backend/network.h"

#include <string.h>

#include "network/networks.h"
#include "util/mem.h"

#define GUEST_IP "10.0.2.15"
#define GATEWAY	 "10.0.2.2"
#define NETMASK	 "255.255.255.0"
#define DNS	 "10.0.2.3"

static int user_probe(char **out_reason, Error **err UNUSED)
{
	*out_reason = xstrdup("needs no privileges; QEMU's user-mode stack");
	return 1;
}

/* A name that is also a host name (RFC 1123 has no underscores). */
static char *host_name(const char *vm_name)
{
	char *name = xstrdup(vm_name);

	for (char *c = name; *c; c++)
		if (*c == '_')
			*c = '-';
	return name;
}

static int user_attach(const Vm *vm, NetworkPlan *out_plan, Error **err UNUSED)
{
	auto_free char *name = host_name(vm->name);

	*out_plan = (NetworkPlan){
		.has_nic = true,
		/* IPv6 would be a second way out with other rules; it comes with the network that can filter it. */
		.qemu_netdev = xstrdup("user,ipv6=off"),
		.gateway = xstrdup(GATEWAY),
		.ip_arg = xasprintf("ip=" GUEST_IP "::" GATEWAY ":" NETMASK ":%s:eth0:off:" DNS, name),
		.record = {
			.mode = xstrdup("user"),
			.host_ip = xstrdup(GATEWAY),
			.guest_ip = xstrdup(GUEST_IP),
			.netmask = xstrdup(NETMASK),
			.guest_mac = vm_mac(vm->id),
		},
	};
	strv_push(&out_plan->record.dns, DNS);
	return 0;
}

/* It lives and dies with the QEMU process. */
static int user_detach(const Vm *vm UNUSED, Error **err UNUSED)
{
	return 0;
}

const NetworkBackend user_network = {
	.name = "user",
	.summary = "user-mode NAT inside the hypervisor process",
	.probe = user_probe,
	.attach = user_attach,
	.detach = user_detach,
};
