/*
 * The services of the guest; src/agent/wire.h says what each takes and answers.
 */
#pragma once

#include "stream.h"

/* NULL when there is none of that number. */
const Service *service_find(unsigned number);

extern const Service exec_service;
extern const Service put_file_service;
extern const Service get_file_service;
extern const Service ping_service;
extern const Service poweroff_service;
extern const Service reboot_service;
extern const Service resize_fs_service;
extern const Service set_identity_service;
extern const Service trim_service;
extern const Service freeze_service;

/* For the agent: end a freeze before its time, which is told as if that were over. */
void freeze_cut(Stream *stream);
