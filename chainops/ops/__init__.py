"""What operators do with an installation: back it up, restore it, bring signed bundles to it."""
