#include "identity.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base.h"
#include "cmdline.h"
#include "net.h"

#define HOSTNAME_MAX  63
#define UUID_LENGTH   36
#define HOSTS_MAX     ((size_t)256 * 1024)
#define HOSTS_ADDRESS "127.0.1.1"

bool identity_is_hostname(const char *text)
{
	size_t length = strlen(text);

	if (length == 0 || length > HOSTNAME_MAX || text[0] == '-' || text[0] == '.')
		return false;
	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)text[i]) && text[i] != '-' && text[i] != '.')
			return false;
	return true;
}

bool identity_is_id(const char *text)
{
	if (strlen(text) != UUID_LENGTH)
		return false;
	for (size_t i = 0; i < UUID_LENGTH; i++) {
		bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (is_dash ? text[i] != '-' : !isxdigit((unsigned char)text[i]))
			return false;
	}
	return true;
}

static int replace_below(const char *root, const char *path, const char *text, unsigned mode)
{
	char whole[512];

	(void)snprintf(whole, sizeof(whole), "%s%s", root, path);
	return replace_file(whole, text, mode);
}

/* Does the line give its address (the first word) the name that we want to give? */
static bool line_is_for(const char *line, size_t length, const char *address)
{
	size_t n = strlen(address);

	return length > n && strncmp(line, address, n) == 0 && isspace((unsigned char)line[n]);
}

/* /etc/hosts with our name on 127.0.1.1 (as Debian's installer writes it), all else as it was. */
static int write_hosts(const char *root, const char *hostname)
{
	char path[512], *old, *text;
	bool has_localhost = false;
	size_t used = 0, size;
	int result;

	(void)snprintf(path, sizeof(path), "%s/etc/hosts", root);
	old = read_file(path, HOSTS_MAX);
	size = (old ? strlen(old) : 0) + HOSTNAME_MAX + 200;
	text = calloc(1, size);
	if (!text) {
		free(old);
		return -1;
	}
	for (const char *line = old; line && *line;) {
		size_t length = strcspn(line, "\n");

		has_localhost |= line_is_for(line, length, "127.0.0.1");
		if (!line_is_for(line, length, HOSTS_ADDRESS)) {
			memcpy(text + used, line, length);
			used += length;
			text[used++] = '\n';
		}
		line += length + (line[length] == '\n');
	}
	if (!has_localhost)
		used += (size_t)snprintf(text + used, size - used,
					 "127.0.0.1\tlocalhost\n"
					 "::1\tlocalhost ip6-localhost ip6-loopback\n");
	(void)snprintf(text + used, size - used, HOSTS_ADDRESS "\t%s\n", hostname);
	result = replace_file(path, text, 0644);
	free(old);
	free(text);
	return result;
}

static int write_machine_id(const char *root, const char *id)
{
	char text[UUID_LENGTH + 2], path[512];
	struct stat status;
	size_t used = 0;

	for (; *id; id++)
		if (*id != '-')
			text[used++] = (char)tolower((unsigned char)*id);
	text[used++] = '\n';
	text[used] = '\0';
	if (replace_below(root, "/etc/machine-id", text, 0444) < 0)
		return -1;
	/* Usually a link to the above; where D-Bus has its own copy it must agree. */
	(void)snprintf(path, sizeof(path), "%s/var/lib/dbus/machine-id", root);
	if (lstat(path, &status) == 0 && S_ISREG(status.st_mode))
		return replace_file(path, text, 0444);
	return 0;
}

/* What this disk was last told, below var/lib/ember: `id` and `name`. */
static int write_stamp(const char *root, const char *what, const char *text)
{
	static const char *const parents[] = { "/var", "/var/lib", "/var/lib/ember" };
	char path[512], line[HOSTNAME_MAX + 2];

	for (size_t i = 0; i < ARRAY_SIZE(parents); i++) {
		(void)snprintf(path, sizeof(path), "%s%s", root, parents[i]);
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			return -1;
	}
	(void)snprintf(path, sizeof(path), "/var/lib/ember/%s", what);
	(void)snprintf(line, sizeof(line), "%s\n", text);
	return replace_below(root, path, line, 0644);
}

static int write_hostname(const char *root, const char *hostname)
{
	char text[HOSTNAME_MAX + 2];

	(void)snprintf(text, sizeof(text), "%s\n", hostname);
	if (replace_below(root, "/etc/hostname", text, 0644) < 0)
		return -1;
	return write_hosts(root, hostname);
}

int identity_apply(const char *root, const char *hostname, const char *id)
{
	char path[512];

	if (root[0] == '\0' && hostname && sethostname(hostname, strlen(hostname)) < 0)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/etc", root);
	(void)mkdir(path, 0755); /* the barest of images */
	if (hostname &&
	    (write_hostname(root, hostname) < 0 || write_stamp(root, "name", hostname) < 0))
		return -1;
	if (id && (write_machine_id(root, id) < 0 || write_stamp(root, "id", id) < 0))
		return -1;
	return 0;
}

int identity_follow(const char *root, const char *hostname)
{
	char path[512], stamp[HOSTNAME_MAX + 2], current[HOSTNAME_MAX + 2];

	(void)snprintf(path, sizeof(path), "%s/var/lib/ember/name", root);
	if (read_text(path, stamp, sizeof(stamp)) < 0)
		return write_stamp(root, "name", hostname);
	if (strcmp(stamp, hostname) == 0)
		return 0;
	(void)snprintf(path, sizeof(path), "%s/etc/hostname", root);
	if (read_text(path, current, sizeof(current)) >= 0 && strcmp(current, stamp) != 0)
		return write_stamp(root, "name", hostname);
	return identity_apply(root, hostname, /* id= */ NULL);
}

bool identity_is_stale(const char *root, const char *id)
{
	char path[512], stamp[UUID_LENGTH + 2];

	(void)snprintf(path, sizeof(path), "%s/var/lib/ember/id", root);
	return read_text(path, stamp, sizeof(stamp)) < 0 || strcasecmp(stamp, id) != 0;
}

void identity_boot(const char *cmdline)
{
	char hostname[HOSTNAME_MAX + 2] = "", id[UUID_LENGTH + 2] = "", current[HOSTNAME_MAX + 2];
	NetConfig net;

	if (!cmdline_value(cmdline, "ember.hostname", hostname, sizeof(hostname)) &&
	    net_parse_boot_parameter(cmdline, &net))
		(void)snprintf(hostname, sizeof(hostname), "%s", net.hostname);
	(void)cmdline_value(cmdline, "ember.id", id, sizeof(id));
	if (!identity_is_hostname(hostname))
		hostname[0] = '\0';
	if (!identity_is_id(id))
		id[0] = '\0';
	if (id[0] != '\0' && identity_is_stale("", id)) {
		if (identity_apply("", hostname[0] ? hostname : NULL, id) < 0)
			complain("cannot write this machine's identity: %s", strerror(errno));
		return;
	}
	if (hostname[0] != '\0' && identity_follow("", hostname) < 0)
		complain("cannot write this machine's name: %s", strerror(errno));
	if (read_text("/etc/hostname", current, sizeof(current)) > 0 &&
	    identity_is_hostname(current))
		(void)sethostname(current, strlen(current));
}
