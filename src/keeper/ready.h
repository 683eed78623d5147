/*
 * The answer to whoever started the keeper (agent/keeper.c), on a pipe: up to two lines of JSON.
 *
 *	{"hypervisor":{"pid":N,"started":N}}	its process exists: what to kill if no more comes
 *	{"ready":true,"keeper":{"pid":N,"started":N}}
 *	{"error":{"code":"failed","message":"...","hint":"..."|null,"detail":"..."|null}}
 *
 * The last one is `ready` or `error`. An end of file before it means that the keeper died.
 */
#pragma once

#include "util/error.h"
#include "util/process.h"

int ready_say_hypervisor(int fd, const ProcId *hypervisor, Error **err);
int ready_say_done(int fd, Error **err);
/* Best effort: there is nobody else to tell. */
void ready_say_error(int fd, const Error *failure);
