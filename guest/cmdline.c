#include "cmdline.h"

#include <string.h>

bool cmdline_value(const char *cmdline, const char *name, char *out, size_t size)
{
	size_t name_length = strlen(name);
	bool found = false;

	for (const char *word = cmdline; *word;) {
		size_t length = strcspn(word, " \t\n");

		if (length > name_length && word[name_length] == '=' &&
		    strncmp(word, name, name_length) == 0) {
			size_t value_length = length - name_length - 1;

			if (value_length > size - 1)
				value_length = size - 1;
			memcpy(out, word + name_length + 1, value_length);
			out[value_length] = '\0';
			found = true;
		}
		word += length;
		word += strspn(word, " \t\n");
	}
	return found;
}

bool cmdline_has(const char *cmdline, const char *wanted)
{
	for (const char *word = cmdline; *word;) {
		size_t length = strcspn(word, " \t\n");

		if (length == strlen(wanted) && strncmp(word, wanted, length) == 0)
			return true;
		word += length;
		word += strspn(word, " \t\n");
	}
	return false;
}

static int hex_value(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	digit |= 32;
	return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

bool percent_decode(char *text)
{
	char *to = text;

	for (const char *from = text; *from; from++) {
		int high, low;

		if (*from != '%') {
			*to++ = *from;
			continue;
		}
		high = hex_value(from[1]);
		low = high < 0 ? -1 : hex_value(from[2]);
		if (low < 0 || (high | low) == 0)
			return false;
		*to++ = (char)(high << 4 | low);
		from += 2;
	}
	*to = '\0';
	return true;
}
