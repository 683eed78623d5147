#include "model/oci.h"

#include <stdbool.h>
#include <string.h>

#include "util/mem.h"

/* Go's GOARCH, as image-spec, config.md says. */
static const struct {
	const char *machine;
	const char *arch;
	bool is_ours; /* our records call it by the machine's name */
} names[] = {
	{ "x86_64", "amd64", true },	 { "aarch64", "arm64", true },
	{ "armv7l", "arm", false },	 { "i686", "386", false },
	{ "riscv64", "riscv64", false }, { "ppc64le", "ppc64le", false },
	{ "s390x", "s390x", false },
};

const char *oci_arch_of_machine(const char *machine)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(machine, names[i].machine))
			return names[i].arch;
	return machine;
}

const char *oci_machine_of_arch(const char *arch)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].is_ours && !strcmp(arch, names[i].arch))
			return names[i].machine;
	return arch;
}
