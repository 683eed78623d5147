# What the files about qcow2 stores share.
load lib

# new_qcow2_state DIR: an installation wherever the cache is, which may be a filesystem that clones nothing. The images of
# the base are adopted.
new_qcow2_state() {
	local base=$EMBER_TEST_CACHE/fs/base part

	EMBER_STATE_DIR=$1
	TMPDIR=$EMBER_TEST_CACHE/tmp/$(basename "${BATS_TEST_FILENAME%.bats}")
	export EMBER_STATE_DIR TMPDIR
	mkdir -p "$EMBER_STATE_DIR" "$TMPDIR"
	chmod 700 "$EMBER_STATE_DIR"
	for part in ember.state images kernels store; do
		cp -a --sparse=always "$base/$part" "$EMBER_STATE_DIR/"
	done
	find "$EMBER_STATE_DIR" -name '*.json' -exec sed -i "s|$base/|$EMBER_STATE_DIR/|g" {} +
	ember init --storage qcow2
}

# How many files a disk is made of.
depth() {
	qemu-img info -U --backing-chain "$(field "$1" .disk_path)" | grep -c '^image: '
}

is_flat() {
	[ "$(depth "$1")" -le 5 ]
}

# QEMU finds nothing wrong with any file of the store that nobody writes to.
assert_good_files() {
	local file said

	for file in "$EMBER_STATE_DIR"/store/*.qcow2; do
		[ -e "$file" ] || continue
		said=$(qemu-img check -q "$file" 2>&1) || contains "$said" 'Failed to get shared "write" lock'
	done
}

# The optimizer of a stop is nobody's child.
no_optimizer() {
	! pgrep -f "$EMBER .*--state-dir $EMBER_STATE_DIR storage optimize" >/dev/null
}
