"""What ours is measured beside: upstream's environments and the usual scripts."""
