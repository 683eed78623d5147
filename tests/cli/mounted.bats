#!/usr/bin/env bats
# A guest's kernel mounts what ember-image wrote, and changes it: big hashed directories, deep trees, attributes,
# many inodes. Afterwards the disk is clean, and the changes are there. One image, one boot.

load lib

setup_file() {
	new_state
	"$CLI_DIR/mkbig" "$OCI/busybox" "$TMPDIR/big"
	ember image pull "oci:$TMPDIR/big:latest" --name big
	rm -rf "$TMPDIR/big"
	ember vm create big --image big "${SMALL[@]}" --disk-size 768M --wait
}

teardown_file() {
	drop_state
}

# Each test goes on from where the one before it has left the disk.
setup() {
	[ "$BATS_TEST_NUMBER" -eq 1 ] || [ -e "$BATS_FILE_TMPDIR/passed-$((BATS_TEST_NUMBER - 1))" ] || {
		echo "the test before this one failed, and this one goes on from it" >&2
		return 1
	}
}

teardown() {
	[ -z "${BATS_TEST_COMPLETED-}" ] || : >"$BATS_FILE_TMPDIR/passed-$BATS_TEST_NUMBER"
}

# A script for the guest's busybox; its stdout must be `ok` at the end.
guest() {
	expect 0 ember exec big -- sh -euc "$1"
	contains "$output" ok
}

# What debugfs says of the disk of a stopped VM.
on_disk() {
	debugfs -R "$1" "$(field big .disk_path)" 2>/dev/null
}

@test "the guest's kernel finds every name of big directories by its hash" {
	guest '
		[ "$(ls /flat | wc -l)" = 20000 ]
		[ "$(ls /huge | wc -l)" = 120000 ]
		for n in 0 1 777 9999 19999; do [ "$(cat /flat/file-number-$n)" = "content of $n" ]; done
		for n in 0 1 65537 119999; do [ -e /huge/a-rather-long-name-for-an-empty-file-$n ]; done
		[ ! -e /flat/file-number-20000 ]
		[ "$(cat /deep/$(yes d | head -n 200 | tr "\n" /)bottom)" = deep ]
		echo ok'
}

@test "files are made, renamed and removed in a directory of 20,000" {
	guest '
		cd /flat
		for n in $(seq 0 2 3998); do echo file-number-$n; done | xargs rm
		for n in $(seq 4000 4099); do mv file-number-$n renamed-$n; done
		for n in $(seq 1 3000); do echo new $n >new-and-quite-a-bit-longer-than-before-$n; done
		for n in $(seq 1 50); do ln file-number-9999 link-$n; done
		mv renamed-4000 ../deep/
		mkdir sub && mv file-number-5000 sub/
		[ "$(ls | wc -l)" = 21049 ]
		echo ok'
}

@test "directories and files of every other kind are changed" {
	guest '
		cd /huge
		find . -name "*-1????" | head -n 5000 | xargs rm
		for n in $(seq 1 500); do echo dir-$n; done | xargs mkdir
		for n in $(seq 1 500); do : >dir-$n/x; done
		cd /
		rm -r /deep/d/d/d/d/d
		echo appended >>/attributes/small && chmod 600 /attributes/block && rm /attributes/huge
		rm /fragmented && echo whole >/fragmented
		[ "$(readlink /long)" = "$(yes t | head -n 300 | tr -d "\n")" ] && rm /long && ln -s short /long
		chown 1000:1000 /flat/file-number-7777
		echo ok'
}

@test "the filesystem takes data until it is full, and gives it back" {
	guest '
		dd if=/dev/zero of=/filler bs=1M 2>/dev/null && exit 1
		[ "$(stat -c %s /filler)" -gt 100000000 ] && rm /filler
		i=0; mkdir /inodes; while [ $i -lt 10000 ]; do : >/inodes/$i; i=$((i + 1)); done
		[ "$(ls /inodes | wc -l)" = 10000 ] && rm -r /inodes
		sync
		echo ok'
}

@test "after a stop the disk is clean, and has the changes" {
	expect 0 ember vm stop big
	expect 0 e2fsck -fn "$(field big .disk_path)"
	contains "$(on_disk 'cat /flat/new-and-quite-a-bit-longer-than-before-3000')" 'new 3000'
	contains "$(on_disk 'cat /flat/sub/file-number-5000')" 'content of 5000'
	contains "$(on_disk 'cat /deep/renamed-4000')" 'content of 4000'
	contains "$(on_disk 'stat /flat/file-number-9999')" 'Links: 51'
	contains "$(on_disk 'stat /flat/file-number-7777')" 'User:  1000   Group:  1000'
	contains "$(on_disk 'ea_get /attributes/block user.big')" "$(printf '%0100d' 0)"
	contains "$(on_disk 'cat /attributes/small')" 'appended'
	contains "$(on_disk 'stat /huge/dir-500/x')" 'Type: regular'
	contains "$(on_disk 'stat /flat')" 'Flags: 0x81000'
	equal "$(on_disk 'stat /flat/file-number-0')" ''
	equal "$(on_disk 'stat /attributes/huge')" ''
}
