# A cache of simplestreams mirrors in a virtual machine of Incus; LXD's provider takes the same with other names.

terraform {
  required_providers {
    incus = {
      source = "lxc/incus"
    }
  }
}

variable "name" {
  type    = string
  default = "sstream-proxy"
}

variable "disk" {
  description = "Room for images, and the system beside them."
  type        = string
  default     = "220GiB"
}

resource "incus_instance" "cache" {
  name  = var.name
  type  = "virtual-machine"
  image = "images:debian/13/cloud"

  config = {
    "limits.cpu"           = "2"
    "limits.memory"        = "2GiB"
    "cloud-init.user-data" = file("${path.module}/../cloud-init.yaml")
  }

  device {
    name = "root"
    type = "disk"
    properties = {
      path = "/"
      pool = "default"
      size = var.disk
    }
  }
}

output "boot_source" {
  description = "The URL for MAAS's boot source."
  value       = "http://${incus_instance.cache.ipv4_address}:8080/images/ephemeral-v3/stable/"
}
