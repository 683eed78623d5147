# Disks that others made, as images: raw and qcow2, partitioned, not unmounted, and hostile.
load lib

setup_file() {
	export FILES=$BATS_FILE_TMPDIR/files DISK

	new_state
	mkdir "$FILES"
	DISK=$(ember image inspect busybox --format json | jq -r .disk_path)
}

teardown_file() {
	drop_state
}

teardown() {
	assert_no_leftovers
}

same_as_busybox() {
	python3 "$CLI_DIR/../image/sametree.py" "$DISK" "$(ember image inspect "$1" --format json | jq -r .disk_path)"
}

# partitioned FILE LABEL: a disk with two partitions, the root on the second one.
partitioned() {
	local size

	size=$(stat -c %s "$DISK")
	truncate -s $((size + (8 << 20))) "$1"
	printf 'label: %s\nstart=2048, size=2048\nstart=6144, size=%d, type=%s\n' "$2" $((size / 512)) \
		"$([ "$2" = gpt ] && echo 0FC63DAF-8483-4772-8E79-3D69D8477DE4 || echo 83)" |
		sfdisk -q "$1"
	dd if="$DISK" of="$1" bs=512 seek=6144 conv=notrunc,sparse status=none
}

refused_disk() {
	run --separate-stderr ember image import refused "$FILES/$1"
	refused
	explains "$2"
	expect 3 ember image inspect refused
}

@test "raw disks: ext4 alone, in a GPT and in an MBR partition; packed as well" {
	local label

	expect 0 ember image import raw "$DISK" --format json
	json '.config.env | index("FROM_IMAGE=yes") != null'
	same_as_busybox raw
	ember image delete raw
	for label in gpt dos; do
		rm -f "$FILES/parts"
		partitioned "$FILES/parts" "$label"
		expect 0 ember image import raw "$FILES/parts"
		same_as_busybox raw
		ember image delete raw
	done
	zstd -q <"$FILES/parts" >"$FILES/parts.packed"
	expect 0 ember image import raw "$FILES/parts.packed"
	same_as_busybox raw
	ember image delete raw
}

@test "an imported disk is as small as its files, however large it was" {
	cp --sparse=always "$DISK" "$FILES/large.raw"
	chmod u+w "$FILES/large.raw"
	truncate -s 20G "$FILES/large.raw"
	resize2fs "$FILES/large.raw" >/dev/null 2>&1
	expect 0 ember image import large "$FILES/large.raw" --format json
	json '.size_bytes < 200000000'
	same_as_busybox large
	ember image delete large
	rm "$FILES/large.raw"
}

@test "a qcow2, compressed or not, from a file and from a pipe; a VM boots from it" {
	qemu-img convert -O qcow2 "$DISK" "$FILES/one"
	qemu-img convert -O qcow2 -c "$DISK" "$FILES/two"
	qemu-img convert -O qcow2 -o compat=0.10 "$DISK" "$FILES/three"
	for file in one two three; do
		expect 0 ember image import qcow2 "$FILES/$file"
		same_as_busybox qcow2
		ember image delete qcow2
	done
	# shellcheck disable=SC2002 # it shall be a pipe
	cat "$FILES/two" | expect 0 ember image import qcow2 -
	same_as_busybox qcow2
	boot from-qcow2 qcow2
	expect 0 ember exec from-qcow2 -- sh -c 'hostname; echo $FROM_IMAGE'
	equal "$output" $'from-qcow2\nyes'
	ember vm delete --force from-qcow2
	ember image delete qcow2
}

@test "a disk that was not unmounted: its journal is replayed, and the file is left alone" {
	local before

	ember vm create torn --image busybox "${SMALL[@]}" --disk-size 128M --wait
	ember exec torn -- sh -c 'echo torn >/root/torn; sync'
	ember vm stop --force torn
	cp --sparse=always "$(field torn .disk_path)" "$FILES/torn.raw"
	chmod 444 "$FILES/torn.raw"
	dumpe2fs -h "$FILES/torn.raw" 2>/dev/null | grep -q needs_recovery
	before=$(sha256sum <"$FILES/torn.raw")
	expect 0 ember image import torn "$FILES/torn.raw"
	equal "$(sha256sum <"$FILES/torn.raw")" "$before"
	run debugfs -R 'cat /root/torn' "$(ember image inspect torn --format json | jq -r .disk_path)"
	contains "$output" torn
	qemu-img convert -O qcow2 "$FILES/torn.raw" "$FILES/torn.qcow2"
	ember image delete torn
	expect 0 ember image import torn "$FILES/torn.qcow2"
	run debugfs -R 'cat /root/torn' "$(ember image inspect torn --format json | jq -r .disk_path)"
	contains "$output" torn
	ember image delete torn
	ember vm delete torn
}

@test "a disk without an ext4: refused, and what is on it is named" {
	truncate -s 400M "$FILES/xfs" && mkfs.xfs -q "$FILES/xfs"
	refused_disk xfs XFS
	truncate -s 200M "$FILES/btrfs" && mkfs.btrfs -q "$FILES/btrfs"
	refused_disk btrfs btrfs
	truncate -s 16M "$FILES/swap" && mkswap -q "$FILES/swap"
	refused_disk swap swap
	truncate -s 16M "$FILES/none" && printf 'label: gpt\nsize=4096\n' | sfdisk -q "$FILES/none"
	refused_disk none ext4
	qemu-img convert -O qcow2 "$FILES/xfs" "$FILES/xfs.qcow2"
	refused_disk xfs.qcow2 ""
}

@test "a qcow2 that speaks of other files of this host never gets them" {
	echo "root password" >"$FILES/secret"
	truncate -s 1M "$FILES/secret"
	qemu-img create -q -f qcow2 -b "$FILES/secret" -F raw "$FILES/backed"
	refused_disk backed "backing file"
	qemu-img create -q -f qcow2 -o "data_file=$FILES/secret-data,data_file_raw=on" "$FILES/split" 1M
	refused_disk split "data in another file"
	# qemu-img would measure the CPU for a key first, which it cannot do on every machine.
	qemu-img create -q -f qcow2 "$FILES/encrypted" 1M
	printf '\0\0\0\2' | dd of="$FILES/encrypted" bs=1 seek=32 conv=notrunc status=none
	refused_disk encrypted encrypted
	# What is packed is looked at too.
	gzip <"$FILES/backed" >"$FILES/backed.gz"
	refused_disk backed.gz "backing file"
}

@test "a damaged qcow2: an error, and nothing left" {
	local at

	qemu-img convert -O qcow2 "$DISK" "$FILES/good"
	head -c 90 "$FILES/good" >"$FILES/bad"
	refused_disk bad ""
	head -c 200000 "$FILES/good" >"$FILES/bad"
	refused_disk bad ""
	# The version, the size, the tables of the first level, features that nobody knows.
	for at in 4 24 36 40 72; do
		cp "$FILES/good" "$FILES/bad"
		printf '\377\377\377\377' | dd of="$FILES/bad" bs=1 seek="$at" conv=notrunc status=none
		refused_disk bad ""
	done
}

@test "a user without privileges: in, out, and a VM's disk" {
	[ "$(id -u)" -eq 0 ] || skip "this is about becoming another user"
	local home=$EMBER_TEST_CACHE/fs/rootless-move
	local as=(setpriv --reuid 65534 --regid 65534 --clear-groups env -u XDG_RUNTIME_DIR
		HOME="$home" EMBER_STATE_DIR="$home/state" EMBER_LIBEXEC_DIR="$home/programs" TMPDIR="$home/tmp"
		"$home/programs/ember")

	mkdir -p "$home/tmp" "$home/programs"
	cp "$EMBER_BUILD"/ember* "$home/programs/" 2>/dev/null || true
	gzip -dc "$(find "$OCI/busybox/blobs/sha256" -size +100k)" >"$home/root.tar"
	chmod -R a+rX "$home"
	chown 65534:65534 "$home" "$home/tmp"
	expect 0 "${as[@]}" image import box "$home/root.tar" 3>&-
	cp -r "$EMBER_TEST_CACHE/fs/base/kernels" "$home/state/"
	chown -R 65534:65534 "$home/state/kernels"
	expect 0 "${as[@]}" vm create mine --image box --memory 256M --disk-size 128M --wait 3>&-
	expect 0 "${as[@]}" exec mine -- /bin/sh -c 'echo mine >/root/mine; /bin/sync' 3>&-
	expect 0 "${as[@]}" vm stop --force mine 3>&-
	expect 0 "${as[@]}" vm commit mine made 3>&-
	for file in mine.tar mine.raw mine.qcow2; do
		expect 0 "${as[@]}" vm export mine "$home/$file" 3>&-
		expect 0 "${as[@]}" image import "from-$file" "$home/$file" 3>&-
	done
	expect 0 "${as[@]}" image export made "$home/made.tar" 3>&-
	expect 0 "${as[@]}" vm create again --image from-mine.tar --memory 256M --wait 3>&-
	expect 0 "${as[@]}" exec again -- /bin/sh -c '/bin/cat /root/mine; /bin/hostname' 3>&-
	equal "$output" $'mine\nagain'
	# Where it may not write.
	expect 5 "${as[@]}" vm export mine /etc/mine.raw 3>&-
	# What it may not read.
	install -m 600 "$home/root.tar" "$home/private.tar"
	expect 5 "${as[@]}" image import private "$home/private.tar" 3>&-
	expect 0 "${as[@]}" vm delete --force --all 3>&-
	expect 0 "${as[@]}" deinit --purge 3>&-
	rm -rf "$home"
}
