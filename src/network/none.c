/*
 * No network at all: no device in the guest. exec, cp and stop still work, because the agent does not need it.
 */
#include "backend/network.h"

#include "network/networks.h"
#include "util/mem.h"

static int none_probe(char **out_reason, Error **err UNUSED)
{
	*out_reason = xstrdup("always possible");
	return 1;
}

static int none_attach(const Vm *vm, NetworkPlan *out_plan, Error **err UNUSED)
{
	/* ip= still carries the host name; "off" configures nothing. */
	*out_plan = (NetworkPlan){ .record = { .mode = xstrdup("none") },
				   .ip_arg = xasprintf("ip=::::%s::off", vm->name) };
	return 0;
}

static int none_detach(const Vm *vm UNUSED, Error **err UNUSED)
{
	return 0;
}

const NetworkBackend none_network = {
	.name = "none",
	.summary = "no network device; the agent channel still works",
	.probe = none_probe,
	.attach = none_attach,
	.detach = none_detach,
};
