# Shares a volume backup. The usual OS_ environment variables define the cloud and the credentials.

terraform {
  required_providers {
    opentelekomcloud = {
      source = "opentelekomcloud/opentelekomcloud"
    }
  }
}

provider "opentelekomcloud" {}

variable "backup_id" {
  type = string
}

variable "to_project_ids" {
  type = set(string)
}

resource "opentelekomcloud_vbs_backup_share_v2" "share" {
  backup_id      = var.backup_id
  to_project_ids = var.to_project_ids
}

output "backup_name" {
  value = opentelekomcloud_vbs_backup_share_v2.share.backup_name
}

output "size" {
  value = opentelekomcloud_vbs_backup_share_v2.share.size
}

output "share_ids" {
  value = opentelekomcloud_vbs_backup_share_v2.share.share_ids
}
