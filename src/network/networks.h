/*
 * The network back ends of this directory, for backend/registry.c.
 */
#pragma once

#include "backend/network.h"

extern const NetworkBackend user_network;
extern const NetworkBackend none_network;
