/* Looks like a kernel: the banner with its release, and the note that names the PVH entry point. */
const char banner[] = "Linux version 6.1.0-fake (ember@ember) #1";

#ifndef NO_PVH
__attribute__((section(".note.Xen"), aligned(4), used)) static const struct {
	unsigned name_size, size, type;
	char name[4];
	unsigned entry;
} note = { 4, 4, 18, "Xen", 0 };
#endif

void _start(void)
{
	for (;;)
		__asm__ volatile("" : : "r"(banner));
}
