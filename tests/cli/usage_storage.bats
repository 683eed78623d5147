#!/usr/bin/env bats
# Who uses which bytes: storage usage, USED in vm list, vm tree, debug storage-efficiency. One boot.
load lib

setup_file() {
	new_state
	boot origin
	ember exec origin -- sh -c 'head -c 3000000 /dev/urandom >/root/blob; sync'
	ember vm stop origin
}

teardown_file() {
	drop_state
}

teardown() {
	assert_no_leftovers
}

usage() {
	ember storage usage --format json | jq -er "$1"
}

# write_blocks VM FIRST COUNT: as a guest does, block by block with room between them.
write_blocks() {
	local disk number

	disk=$(field "$1" .disk_path)
	for ((number = 0; number < $3; number++)); do
		dd if=/dev/urandom of="$disk" bs=4096 count=1 seek=$(($2 + 2 * number)) conv=notrunc status=none
	done
}

@test "each byte a VM writes is its own, to the block, and all else it has in common" {
	local before

	ember vm fork origin a --no-start
	ember vm fork origin b --no-start
	equal "$(usage .vms.a.exclusive)" 0
	before=$(usage .vms.a.referenced)
	# Where the image has data, and far behind it: there the fork reaches more than it did.
	write_blocks a 300000 12
	equal "$(usage .vms.a.exclusive)" $((12 * 4096))
	equal "$(usage .vms.a.referenced)" $((before + 12 * 4096))
	equal "$(usage .vms.b.exclusive)" 0
	equal "$(usage .vms.b.referenced)" "$before"
	# What two have in common is nobody's own, until one of them is gone.
	ember vm fork a c --no-start
	equal "$(usage '"\(.vms.a.exclusive) \(.vms.c.exclusive)"')" "0 0"
	write_blocks c 400000 5
	equal "$(usage '"\(.vms.a.exclusive) \(.vms.c.exclusive)"')" "0 $((5 * 4096))"
	ember vm delete a
	equal "$(usage .vms.c.exclusive)" $((17 * 4096))
	ember vm delete b c
}

@test "exclusive <= referenced <= provisioned, and the pool has each byte once" {
	ember vm fork origin a --no-start
	write_blocks a 0 7
	expect 0 ember storage usage --format json
	json '[.vms[], .images[]] | all(.exclusive <= .referenced and .referenced <= .provisioned)'
	json '[.vms[], .images[]] | all(.shared == .referenced - .exclusive and .logical == .referenced)'
	json '.vms.origin.provisioned == 8 * 1024 * 1024 * 1024'
	json '.vms.origin.exclusive > 0 and .vms.origin.referenced > 3000000'
	json '.pool.allocated >= ([.vms[], .images[]] | map(.exclusive) | add)'
	json '.pool.allocated <= ([.vms[], .images[]] | map(.referenced) | add)'
	json '.pool.addressable == ([.vms[], .images[]] | map(.provisioned) | add)'
	json '.pool.reserved == 0 and .pool.capacity > .pool.allocated'
	json '.orphans == {} and .pending == {}'
	ember vm delete a
}

@test "the list and inspect say what usage says" {
	local wanted

	ember vm fork origin a --no-start
	write_blocks a 300000 9
	wanted=$(usage '.vms | map_values(.exclusive) | to_entries | map("\(.key) \(.value)") | .[]')
	expect 0 ember vm list --format json
	equal "$(json '.[] | "\(.name) \(.used_bytes)"')" "$wanted"
	equal "$(field a .used_bytes)" $((9 * 4096))
	expect 0 ember vm list
	contains "$output" "DISK    USED" "8 GiB  36 KiB"
	expect 0 ember vm inspect a
	contains "$output" "Used:" "36 KiB"
	ember vm delete a
}

@test "a VM is counted with its snapshots: what it shares only with them is its own" {
	local before

	ember vm fork origin a --no-start
	before=$(usage .vms.a.referenced)
	write_blocks a 300000 9
	expect 0 ember snapshot create a first
	equal "$(usage .vms.a.exclusive)" $((9 * 4096))
	equal "$(usage .vms.a.snapshots.first.exclusive)" 0
	write_blocks a 300000 4
	ember snapshot create a second
	write_blocks a 500000 2
	# 9 of the first, 4 that replaced some of them, 2 that only the disk has.
	equal "$(usage .vms.a.exclusive)" $(((9 + 4 + 2) * 4096))
	equal "$(usage '.vms.a.snapshots | map_values(.exclusive) | "\(.first) \(.second)"')" "$((4 * 4096)) 0"
	# It reaches each byte once, however many of its disks do.
	equal "$(usage .vms.a.referenced)" $((before + (9 + 4 + 2) * 4096))
	equal "$(usage '.pool.allocated >= .vms.a.referenced')" true
	equal "$(usage .vms.a.shared)" "$before"
	equal "$(usage .vms.a.provisioned)" $((3 * 8 << 30))
	equal "$(usage '.orphans | length')" 0
	equal "$(ember vm list --format json | jq '.[] | select(.name == "a").used_bytes')" $((15 * 4096))
	expect 0 ember storage usage
	contains "$output" "  @first" "  @second"
	ember snapshot delete a first
	equal "$(usage .vms.a.exclusive)" $(((5 + 4 + 2) * 4096))
	ember vm delete a
	equal "$(usage '.orphans | length')" 0
}

@test "tables for people: what is there has a section, what is not has none" {
	expect 0 ember storage usage
	contains "$output" "POOL" "CAPACITY" "ADDRESSABLE" "VMS" "IMAGES" "PROVISIONED" "EXCLUSIVE" "COMPRESSION" \
		"origin" "busybox" "debian" "1.00x"
	[[ $output != *ORPHANS* && $output != *PENDING* ]]
	expect 0 ember storage df
	contains "$output" POOL
}

@test "what nobody owns, and what is being made or removed, is named" {
	local orphan=0badf00d-0000-4000-8000-000000000001 pending=0badf00d-0000-4000-8000-000000000002
	local store=$EMBER_STATE_DIR/store trash=$EMBER_STATE_DIR/trash/vm:ghost:0badf00d

	head -c 8192 /dev/urandom >"$store/$orphan.raw"
	head -c 4096 /dev/urandom >"$store/$pending.raw"
	mkdir "$trash"
	jq ".name = \"ghost\" | .id = \"$pending\" | .volume = \"$pending\"" \
		"$EMBER_STATE_DIR/vms/origin/vm.json" >"$trash/vm.json"
	expect 0 ember storage usage --format json
	json ".orphans[\"$orphan\"].exclusive == 8192 and (.orphans | length) == 1"
	json ".pending[\"$pending\"] | .exclusive == 4096 and .owner == \"vm ghost\""
	expect 0 ember storage usage
	contains "$output" ORPHANS "$orphan" PENDING "$pending (vm ghost)"
	ember reconcile
	equal "$(usage '"\(.orphans | length) \(.pending | length)"')" "0 0"
}

@test "without its store the list is a list all the same, and usage says what is wrong" {
	local disk

	mv "$EMBER_STATE_DIR/store" "$EMBER_STATE_DIR/elsewhere"
	expect 0 ember vm list --format json
	json '.[0].name == "origin"'
	json '.[0] | has("used_bytes") and .used_bytes == null'
	expect 0 ember vm list
	[[ $(tail -n 1 <<<"$output") =~ 8\ GiB\ +-\ +- ]]
	expect 0 ember vm tree
	expect 0 ember image list --format json
	json '.images | all(has("referenced_bytes") and .referenced_bytes == null)'
	expect 3 ember storage usage
	explains "open reflink storage" "is missing" "put it back"
	contains "$stderr" "ember vm delete --force --all && ember deinit --purge"
	[ ! -e "$EMBER_STATE_DIR/store" ]
	mv "$EMBER_STATE_DIR/elsewhere" "$EMBER_STATE_DIR/store"
	# A VM that is deleted meanwhile is gone, its disk when the store is back.
	ember vm fork origin lost --no-start
	disk=$(field lost .disk_path)
	mv "$EMBER_STATE_DIR/store" "$EMBER_STATE_DIR/elsewhere"
	expect 0 ember vm delete lost
	contains "$output" "VM 'lost' deleted"
	contains "$stderr" "is missing" "ember reconcile"
	expect 3 ember vm inspect lost
	mv "$EMBER_STATE_DIR/elsewhere" "$EMBER_STATE_DIR/store"
	[ -e "$disk" ]
	ember reconcile
	[ ! -e "$disk" ]
	# One disk that is missing says nothing about the others.
	mv "$(field origin .disk_path)" "$EMBER_STATE_DIR/disk"
	expect 0 ember storage usage --format json
	json '.vms.origin | .referenced == null and .provisioned > 0'
	json '.images.busybox.referenced > 0'
	mv "$EMBER_STATE_DIR/disk" "$(field origin .disk_path)"
}

@test "nothing is made by looking: an uninitialised directory" {
	local -x EMBER_STATE_DIR=$BATS_TEST_TMPDIR/none

	for command in "storage usage" "debug storage-efficiency"; do
		# shellcheck disable=SC2086 # two words
		expect 3 ember $command
		explains "not initialized"
	done
	expect 0 ember vm tree --format json
	equal "$output" "[]"
	[ ! -e "$EMBER_STATE_DIR" ]
}

@test "compressed disks: nothing is made up, it is -" {
	[ "$(id -u)" -eq 0 ] || skip "mounting needs root"
	local -x EMBER_STATE_DIR=$BATS_TEST_TMPDIR/fs/state
	local state=$EMBER_STATE_DIR

	mkdir "$BATS_TEST_TMPDIR/fs"
	truncate -s 1G "$BATS_TEST_TMPDIR/img"
	mkfs.btrfs -q "$BATS_TEST_TMPDIR/img"
	mount -o loop,compress-force=zstd "$BATS_TEST_TMPDIR/img" "$BATS_TEST_TMPDIR/fs"
	ember init --storage reflink
	ember image pull "oci:$OCI/busybox:latest" --name busybox
	ember vm create tight --image busybox --no-start
	expect 0 ember storage usage --format json
	json '.vms.tight | .provisioned > 0 and .referenced == null and .exclusive == null and .shared == null'
	json '.pool | has("allocated") and .allocated == null'
	expect 0 ember vm list
	[[ $(tail -n 1 <<<"$output") =~ 8\ GiB\ +-\ +- ]]
	expect 0 ember vm tree
	expect 0 ember debug storage-efficiency
	# Not one byte is said to come free that might not.
	ember vm delete tight
	expect 0 ember image prune --dry-run --format json
	json 'has("image_bytes") and .image_bytes == null'
	expect 0 ember image prune
	contains "$output" "Removed 1 image:"
	ember deinit --purge
	umount "$BATS_TEST_TMPDIR/fs"
	[ "$state" = "$EMBER_STATE_DIR" ]
}

@test "vm tree: images, VMs and forks; names that changed; parents that are gone" {
	ember vm fork origin a --no-start
	ember vm fork a a1 --no-start
	ember vm fork a1 a2 --no-start
	ember vm fork origin b --no-start
	write_blocks a2 300000 3
	ember vm rename a alpha
	ember vm delete a1
	expect 0 env LC_ALL=C "$EMBER" vm tree
	# Nobody remembers where a VM came from that is gone: it hangs on its image.
	equal "$(grep -A 6 ^busybox <<<"$output" | grep -oE '^.*(image|gone|stopped|created)' | tr -s ' ')" "$(
		cat <<-'TREE'
			busybox image
			|-- a1 gone
			| `-- a2 created
			`-- origin stopped
			 |-- alpha created
			 `-- b created
			debian image
		TREE
	)"
	expect 0 env LC_ALL=C.UTF-8 "$EMBER" vm tree
	contains "$output" "├── a1" "│   └── a2" "└── origin" "    ├── alpha" "12 KiB"
	expect 0 ember vm tree --format json
	json '.[] | select(.image == "busybox").vms | map(.name) == ["a1", "origin"]'
	json '.[] | select(.image == "debian") | .vms == [] and .exclusive > 0 and .gone == false'
	json '[.. | objects | select(.name == "a2")][0] | .exclusive == 12288 and .status == "created"'
	json '[.. | objects | select(.name == "a1")][0] | .gone and .status == null and .exclusive == null
		and .forks[0].name == "a2"'
	ember vm delete alpha a2 b
}

@test "vm tree: records that are damaged hang somewhere" {
	local vms=$EMBER_STATE_DIR/vms

	ember vm fork origin a --no-start
	ember vm fork a b --no-start
	# Each the other's fork.
	jq ".parent_vm = \"b\" | .parent_id = \"$(field b .id)\"" "$vms/a/vm.json" >"$BATS_TEST_TMPDIR/ring"
	cp "$vms/a/vm.json" "$BATS_TEST_TMPDIR/a"
	mv "$BATS_TEST_TMPDIR/ring" "$vms/a/vm.json"
	mv "$vms/b/vm.json" "$BATS_TEST_TMPDIR/b"
	jq 'del(.image, .image_id)' "$BATS_TEST_TMPDIR/b" >"$vms/b/vm.json"
	mkdir "$vms/shattered"
	echo '{' >"$vms/shattered/vm.json"
	expect 0 ember vm tree --format json
	equal "$(json '[.. | objects | .name? // empty] | sort | join(" ")')" "a b origin shattered"
	expect 0 ember vm tree
	contains "$output" "(unknown)" "shattered"
	rm -r "$vms/shattered"
	mv "$BATS_TEST_TMPDIR/a" "$vms/a/vm.json"
	mv "$BATS_TEST_TMPDIR/b" "$vms/b/vm.json"
	ember vm delete a b
}

@test "debug storage-efficiency: the same figures, summed up" {
	expect 0 ember debug storage-efficiency --format json
	equal "$(jq -c 'del(.efficiency)' <<<"$output")" "$(ember storage usage --format json | jq -c .)"
	json '.efficiency.provisioned == ([.vms[], .images[]] | map(.provisioned) | add)'
	json '.efficiency | .saved_by_sharing == .referenced - .allocated and .saved_by_compression == 0
		and .saved_by_holes == .provisioned - .logical'
	expect 0 ember debug storage-efficiency
	contains "$output" "Guests see:" "Saved by sharing:" "VMS" "IMAGES"
}

@test "images: what they take, and what a prune brings" {
	expect 0 ember image list --format json
	json '.images | all(.referenced_bytes > 0 and .referenced_bytes < .size_bytes)'
	expect 0 ember image list
	contains "$output" "SIZE  REFERENCED"
	# An image of a VM has nothing to itself but what the VM has changed since.
	ember vm fork origin a --no-start
	ember vm commit a of-a
	expect 0 ember image prune --dry-run --format json
	json '.images | index("of-a") != null'
	[ "$(json .image_bytes)" -lt "$(ember image inspect debian --format json | jq .referenced_bytes)" ] ||
		json '.images | index("debian") != null'
	equal "$(usage '.images["of-a"].exclusive < 1048576')" true
	ember image delete of-a
	ember vm delete a
}
