#include "users.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"

/* Directory services write large ones; beyond this it is not a user database. */
#define DATABASE_MAX ((size_t)4 * 1024 * 1024)
#define FIELDS_MAX   7

/* Whole text a decimal number? */
static bool parse_number(const char *text, unsigned *out_number)
{
	char *end;
	unsigned long value;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	value = strtoul(text, &end, 10);
	if (*end != '\0' || errno != 0 || value >= 0xffffffffUL)
		return false;
	*out_number = (unsigned)value;
	return true;
}

static char *read_database(const char *root, const char *path)
{
	char whole[512];

	(void)snprintf(whole, sizeof(whole), "%s%s", root, path);
	return read_file(whole, DATABASE_MAX);
}

/* Cut the next line out of *rest and split it at colons. Returns the number of fields, 0: the end.
 */
static unsigned next_entry(char **rest, char *fields[FIELDS_MAX])
{
	char *line = *rest ? strsep(rest, "\n") : NULL;
	unsigned count = 0;

	while (line && count < FIELDS_MAX)
		fields[count++] = strsep(&line, ":");
	return count;
}

/* Find the passwd entry of a name or, when `text` is a number that is nobody's name, of a uid. */
static bool find_passwd(char *database, const char *text, User *user)
{
	char *fields[FIELDS_MAX], *rest = database;
	unsigned wanted, uid, gid, count;
	bool by_number = parse_number(text, &wanted);

	while ((count = next_entry(&rest, fields)) > 0) {
		if (count < 6 || !parse_number(fields[2], &uid) || !parse_number(fields[3], &gid))
			continue;
		if (strcmp(fields[0], text) != 0 && !(by_number && uid == wanted))
			continue;
		user->uid = uid;
		user->gid = gid;
		(void)snprintf(user->name, sizeof(user->name), "%s", fields[0]);
		if (fields[5][0] == '/')
			(void)snprintf(user->home, sizeof(user->home), "%s", fields[5]);
		return true;
	}
	return false;
}

static bool find_group(char *database, const char *text, gid_t *out_gid)
{
	char *fields[FIELDS_MAX], *rest = database;
	unsigned gid, count;

	if (parse_number(text, out_gid))
		return true;
	while ((count = next_entry(&rest, fields)) > 0)
		if (count >= 3 && strcmp(fields[0], text) == 0 && parse_number(fields[2], &gid)) {
			*out_gid = gid;
			return true;
		}
	return false;
}

static bool is_member(char *members, const char *name)
{
	char *member;

	while ((member = strsep(&members, ",")) != NULL)
		if (strcmp(member, name) == 0)
			return true;
	return false;
}

static void add_memberships(char *database, User *user)
{
	char *fields[FIELDS_MAX], *rest = database;
	unsigned gid, count;

	while (user->group_count < USER_GROUPS_MAX && (count = next_entry(&rest, fields)) > 0)
		if (count >= 4 && parse_number(fields[2], &gid) && gid != user->gid &&
		    is_member(fields[3], user->name))
			user->groups[user->group_count++] = gid;
}

static bool find_user(const char *root, const char *name, User *user)
{
	char *passwd = read_database(root, "/etc/passwd");
	bool found = passwd && find_passwd(passwd, name, user);

	free(passwd);
	if (found)
		return true;
	if (strcmp(name, "root") == 0 || strcmp(name, "0") == 0) {
		(void)snprintf(user->name, sizeof(user->name), "root");
		return true;
	}
	(void)snprintf(user->name, sizeof(user->name), "%s", name);
	return parse_number(name, &user->uid);
}

bool user_find(const char *root, const char *spec, User *out_user)
{
	const char *colon = strchr(spec, ':');
	User user = { .home = "/" };
	char name[64], *groups;
	bool found = true;

	if (snprintf(name, sizeof(name), "%.*s", (int)(colon ? colon - spec : (int)strlen(spec)),
		     spec) >= (int)sizeof(name))
		return false;
	if (!find_user(root, name[0] ? name : "0", &user))
		return false;
	groups = read_database(root, "/etc/group");
	if (!groups)
		groups = calloc(1, 1);
	if (!groups)
		return false;
	if (colon && colon[1])
		found = find_group(groups, colon + 1, &user.gid);
	user.groups[user.group_count++] = user.gid;
	if (!colon || !colon[1])
		add_memberships(groups, &user);
	free(groups);
	if (found)
		*out_user = user;
	return found;
}
