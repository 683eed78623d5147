/* The QEMU back end; for the registry. */
#pragma once

#include "backend/hypervisor.h"

extern const HypervisorBackend qemu_hypervisor;
