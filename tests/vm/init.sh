#!/bin/busybox sh
# The first process of the machine: finds its disk and goes there.
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
for module in virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk; do
    for file in /lib/modules/$module.ko*; do
        [ -f "$file" ] && /bin/busybox insmod "$file"
    done
done
until [ -b /dev/vda ]; do /bin/busybox usleep 10000; done
/bin/busybox mount -t ext4 /dev/vda /disk
/bin/busybox umount /proc
exec /bin/busybox switch_root /disk /usr/bin/busybox sh /inside.sh
